-- Deletes queue rows that are done, and what failed on earlier texts of keys that have just been
-- brought up to date.
WITH forgotten AS (
  DELETE FROM {queue} AS queue
  USING {queue} AS done
  WHERE done.queue_id = ANY(%(written)s)
    AND ({queue_key}) = ({done_key})
    AND queue.attempts > 0 AND queue.enqueued_at < done.enqueued_at
)
DELETE FROM {queue} WHERE queue_id = ANY(%(ids)s)
