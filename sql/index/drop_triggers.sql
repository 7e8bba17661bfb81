-- By their function, for the table may have another name now, and partitions triggers of their own.
DECLARE
  capturing record;
BEGIN
  -- Parents before their partitions, all together within the time that was promised.
  FOR capturing IN
    SELECT relation FROM (
      SELECT DISTINCT tgrelid::regclass AS relation,
        (SELECT count(*) FROM pg_catalog.pg_partition_ancestors(tgrelid)) AS level
      FROM pg_catalog.pg_trigger WHERE tgfoid = to_regproc({capture_name})
    ) AS tree
    ORDER BY level, relation
  LOOP
    PERFORM set_config('lock_timeout', greatest(1,
      extract(epoch FROM until - clock_timestamp()) * 1000)::integer::text, true);
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', capturing.relation);
  END LOOP;
  FOR capturing IN
    SELECT tgname, tgrelid::regclass AS relation FROM pg_catalog.pg_trigger
    WHERE tgfoid = to_regproc({capture_name}) AND tgparentid = 0
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', capturing.tgname, capturing.relation);
  END LOOP;
END;
