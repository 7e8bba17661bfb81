-- Keeps what a claim holds; what ran out and was taken by another stays that one's, and what is
-- being written needs no more time.
UPDATE {queue} SET leased_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
WHERE queue_id IN (
  SELECT queue_id FROM {queue}
  WHERE queue_id = ANY(%(ids)s) AND lease = %(lease)s
  FOR UPDATE SKIP LOCKED
)
