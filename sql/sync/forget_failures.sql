-- Deletes what failed on earlier texts of keys that have just been brought up to date.
DELETE FROM {queue} AS queue
USING {queue} AS done
WHERE done.queue_id = ANY(%(ids)s)
  AND ({queue_key}) = ({done_key})
  AND queue.attempts > 0 AND queue.enqueued_at < done.enqueued_at
