-- For fresh changes and for backfills: whether a row can be claimed, and from where on the next look
-- may begin, which is the first row that is not parked. Rows are read in their order and up to the
-- first that is due, from where the caller has found nothing but gaps and parked rows before.
SELECT
  due.queue_id IS NOT NULL,
  coalesce(
    open.queue_id,
    (SELECT queue_id + 1 FROM {queue}
     WHERE queue_id >= range.low AND queue_id < range.high ORDER BY queue_id DESC LIMIT 1),
    range.low
  )
FROM (VALUES
  (%(fresh)s::bigint, 4611686018427387904), (%(backfilled)s::bigint, 9223372036854775807)
) AS range (low, high)
LEFT JOIN LATERAL (
  SELECT queue_id FROM {queue}
  WHERE queue_id >= range.low AND queue_id < range.high AND failed_at IS NULL
  ORDER BY queue_id LIMIT 1
) AS open ON true
LEFT JOIN LATERAL (
  SELECT queue_id FROM {queue}
  WHERE queue_id >= open.queue_id AND queue_id < range.high AND failed_at IS NULL
    AND (leased_until IS NULL OR leased_until < clock_timestamp())
    AND (not_before IS NULL OR not_before <= clock_timestamp())
  ORDER BY queue_id LIMIT 1
) AS due ON true
ORDER BY range.low
