-- {what}
--
-- A statement that waits for a lock makes everyone wait who comes after it. So this gives way
-- after a short wait, lets the others go first, and tries again.
DO $pgsearch_locked$
DECLARE
  lock_timeout text := current_setting('lock_timeout');
  patience integer;
  until timestamptz;
BEGIN
  FOR attempt IN 1 .. {attempts} LOOP
    BEGIN{clear}
      patience := least({longest_ms}, 100 * 2 ^ (attempt - 1));
      until := clock_timestamp() + make_interval(secs => patience / 1000.0);
      PERFORM set_config('lock_timeout', patience::text, true);
      {statements}
      PERFORM set_config('lock_timeout', lock_timeout, true);
      RETURN;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
      PERFORM pg_sleep(least(0.1 * attempt, 2) * (0.5 + random()));
    END;
  END LOOP;
  RAISE EXCEPTION 'pgsearch: a lock was not to be had in % attempts: %', {attempts}, {what_literal}
    USING ERRCODE = 'lock_not_available',
          HINT = 'Look for long transactions and a VACUUM in pg_stat_activity, and run the migration again: it goes on where it stopped.';
END
$pgsearch_locked$
