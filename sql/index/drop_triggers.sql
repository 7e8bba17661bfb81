-- By their function, for the table may have another name now, and partitions triggers of their own.
DECLARE
  capturing record;
BEGIN
  FOR capturing IN
    SELECT tgname, tgrelid::regclass AS relation FROM pg_catalog.pg_trigger
    WHERE tgfoid = to_regproc({capture_name}) AND tgparentid = 0
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', capturing.tgname, capturing.relation);
  END LOOP;
END;
