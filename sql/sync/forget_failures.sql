-- Deletes what failed on earlier texts of keys that have just been brought up to date.
DELETE FROM {queue} AS queue
USING unnest({key_arrays}, %(newest)s::bigint[]) AS wanted ({key}, queue_id)
WHERE ({queue_key}) = ({wanted_key}) AND queue.attempts > 0 AND queue.queue_id < wanted.queue_id
