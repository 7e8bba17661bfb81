-- Deletes queue rows that are done, and what failed on earlier texts of keys that have just been
-- brought up to date; not what another worker is at, which finds out by itself.
WITH forgotten AS (
  DELETE FROM {queue}
  WHERE queue_id IN (
    SELECT queue.queue_id FROM {queue} AS queue
    JOIN {queue} AS done ON ({queue_key}) = ({done_key})
    WHERE done.queue_id = ANY(%(written)s)
      AND queue.attempts > 0 AND queue.enqueued_at < done.enqueued_at
    FOR UPDATE OF queue SKIP LOCKED
  )
)
DELETE FROM {queue} WHERE queue_id = ANY(%(ids)s) AND lease = %(lease)s
