-- Counts a failed attempt: tried again after 2, 4, 8 ... seconds, parked after the last.
UPDATE {queue}
SET attempts = attempts + 1,
    leased_until = NULL,
    last_error = %(error)s,
    not_before = clock_timestamp() + make_interval(secs => least(power(2, attempts + 1), 600)),
    failed_at = CASE WHEN attempts + 1 >= %(max_attempts)s THEN clock_timestamp() END
WHERE queue_id = ANY(%(ids)s) AND lease = %(lease)s AND failed_at IS NULL
RETURNING failed_at IS NOT NULL
