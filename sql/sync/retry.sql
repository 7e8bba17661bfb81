-- Makes parked rows due again, as if nothing had been tried.
WITH released AS (
  UPDATE {queue} AS queue
  SET failed_at = NULL, not_before = NULL, leased_until = NULL, attempts = 0, lost = 0
  WHERE queue.failed_at IS NOT NULL AND {is_wanted}
  RETURNING queue.last_error
)
SELECT coalesce(last_error, 'no error was noted'), count(*)
FROM released GROUP BY 1 ORDER BY 2 DESC, 1
