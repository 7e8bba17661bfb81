-- What keeps an embedding from being ready: changes from before the watermark that still wait, and
-- chunks without a vector. What is parked does not count as either; it may never succeed.
SELECT
  (SELECT count(*) FROM {queue} WHERE failed_at IS NULL AND queue_id <= %(watermark)s) AS waiting,
  (SELECT count(*) FROM {chunk} AS chunk
   WHERE {column} IS NULL
     AND NOT EXISTS (
       SELECT FROM {queue} AS queue
       WHERE ({queue_key}) = ({chunk_key}) AND queue.failed_at IS NOT NULL
     )) AS missing
