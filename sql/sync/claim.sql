-- Leases the oldest due rows; what another worker is leasing at this moment is passed over. Rows of
-- a backfill have the highest numbers, so that fresh changes come first. Keys that are equal get
-- one text, though they were written as 1.0 and 1.00: they ask for one document.
--
-- A lease that ran out was that of a worker that ended, perhaps over one of the texts it had. The
-- more often that happened to a row, the fewer are leased with it, until it stands alone; then it
-- is parked.
WITH due AS MATERIALIZED (
  SELECT queue_id, lost + (leased_until IS NOT NULL)::integer AS lost
  FROM {queue}
  WHERE failed_at IS NULL
    AND queue_id < %(below)s
    AND (leased_until IS NULL OR leased_until < clock_timestamp())
    AND (not_before IS NULL OR not_before <= clock_timestamp())
  ORDER BY queue_id
  LIMIT %(rows)s
  FOR UPDATE SKIP LOCKED
),
counted AS (
  SELECT
    queue_id, lost, lost >= %(max_lost)s AS is_parked,
    row_number() OVER (ORDER BY queue_id) AS place,
    max(lost) OVER (ORDER BY queue_id) AS most
  FROM due
),
leased AS (
  UPDATE {queue} AS queue SET
    leased_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
    lease = %(lease)s,
    lost = counted.lost,
    failed_at = CASE WHEN counted.is_parked THEN clock_timestamp() END,
    attempts = CASE WHEN counted.is_parked THEN greatest(queue.attempts, 1) ELSE queue.attempts END,
    last_error = CASE WHEN counted.is_parked
      THEN format('%%s workers ended while they had it, the last ones with nothing else', counted.lost)
      ELSE queue.last_error END
  FROM counted
  WHERE queue.queue_id = counted.queue_id
    AND counted.place <= greatest(1, %(rows)s >> least(2 * counted.most, 30))
  RETURNING queue.queue_id, queue.rewrite, queue.lost, counted.is_parked AS "is parked", {queue_key}
)
SELECT leased.queue_id, leased.rewrite, leased.lost, leased."is parked", {leased_key_texts}
FROM leased
WINDOW same AS (PARTITION BY {leased_key} ORDER BY leased.queue_id)
