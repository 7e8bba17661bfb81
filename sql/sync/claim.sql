-- Leases the oldest due rows; what another worker is leasing at this moment is passed over. Keys
-- that are equal get one text, though they were written as 1.0 and 1.00: they ask for one document.
WITH leased AS (
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
)
SELECT leased.queue_id, {leased_key_texts}
FROM leased
WINDOW same AS (PARTITION BY {leased_key} ORDER BY leased.queue_id)
