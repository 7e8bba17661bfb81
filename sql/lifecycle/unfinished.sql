-- What keeps an embedding from being ready: changes from before the watermark that still wait, and
-- chunks without a vector. Parked rows do not count as waiting; they may never succeed.
SELECT
  (SELECT count(*) FROM {queue} WHERE failed_at IS NULL AND queue_id <= %(watermark)s) AS waiting,
  (SELECT count(*) FROM {chunk} WHERE {column} IS NULL) AS missing
