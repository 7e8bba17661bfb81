-- What a queue has left, and why: of a long one, only the first rows in the table are counted.
SELECT
  count(*) FILTER (WHERE failed_at IS NULL) AS waiting,
  count(*) FILTER (WHERE failed_at IS NULL AND leased_until >= clock_timestamp()) AS leased,
  max(leased_until) FILTER (
    WHERE failed_at IS NULL AND leased_until >= clock_timestamp()) AS leased_until,
  count(*) FILTER (WHERE failed_at IS NULL AND not_before > clock_timestamp()
    AND (leased_until < clock_timestamp()) IS NOT FALSE) AS put_off,
  min(not_before) FILTER (WHERE failed_at IS NULL AND not_before > clock_timestamp()) AS due_at,
  count(*) FILTER (WHERE failed_at IS NOT NULL) AS parked
FROM (SELECT failed_at, leased_until, not_before FROM {queue} LIMIT %(at_most)s) AS first
