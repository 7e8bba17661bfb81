-- Rows on which the model failed for good, and what it said last.
SELECT count(*), (array_agg(last_error ORDER BY failed_at DESC))[1]
FROM {queue} WHERE failed_at IS NOT NULL
