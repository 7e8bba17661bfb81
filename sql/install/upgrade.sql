-- Who waited for another session to do the same finds it done.
PERFORM pg_advisory_xact_lock(hashtextextended('pgsearch.installation', 0));
IF (SELECT max(version) FROM pgsearch.installation) < {version} THEN
  -- Searches read both tables, and lock them in this order. Whoever waits for the first one waits for
  -- the second one too, which therefore has to be had almost at once.
  LOCK TABLE pgsearch.embedding IN ACCESS EXCLUSIVE MODE;
  PERFORM set_config('lock_timeout', greatest(1, floor(extract(
    epoch FROM current_setting('lock_timeout')::interval) * 125))::text, true);
  LOCK TABLE pgsearch.search_index IN ACCESS EXCLUSIVE MODE;
{statements}
END IF;
