-- Whether an embedding has to wait for the queue: for changes from before its watermark, and for
-- backfills. What is parked does not count; it may never succeed.
SELECT EXISTS (
  SELECT FROM {queue}
  WHERE failed_at IS NULL AND (queue_id <= %(watermark)s OR queue_id >= 4611686018427387904)
)
