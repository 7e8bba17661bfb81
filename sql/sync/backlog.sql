-- How many rows of a backfill wait, counted up to a limit.
SELECT count(*) FROM (
  SELECT FROM {queue} WHERE queue_id >= 4611686018427387904 AND failed_at IS NULL LIMIT %(limit)s
) AS waiting
