-- Leases the oldest due rows; what another worker is leasing at this moment is passed over.
UPDATE {queue} AS queue
SET leased_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
FROM (
  SELECT queue_id FROM {queue}
  WHERE failed_at IS NULL
    AND (leased_until IS NULL OR leased_until < clock_timestamp())
    AND (not_before IS NULL OR not_before <= clock_timestamp())
  ORDER BY queue_id
  LIMIT %(rows)s
  FOR UPDATE SKIP LOCKED
) AS due
WHERE queue.queue_id = due.queue_id
RETURNING queue.queue_id, {queue_key}
