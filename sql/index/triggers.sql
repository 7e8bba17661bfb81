-- The only thing added to {table}: triggers, which take a lock for a moment.

CREATE TRIGGER {capture_insert} AFTER INSERT ON {table}
  FOR EACH ROW EXECUTE FUNCTION {capture}();

-- Triggers see NULL in such a column, whatever is read from it.
DO $$
DECLARE
  column_name text;
BEGIN
  SELECT attname INTO column_name FROM pg_catalog.pg_attribute
  WHERE attrelid = {table_name}::regclass AND attname IN ({text_names}) AND attgenerated = 'v';
  IF FOUND THEN
    RAISE EXCEPTION 'pgsearch: column % of % is virtual, so that triggers cannot read it',
        quote_ident(column_name), {table_name}
      USING ERRCODE = 'feature_not_supported',
            HINT = 'Make it STORED, or name the columns that it is made of.';
  END IF;
END
$$;

-- An update that leaves the text alone must cost nothing. The column list sees to that: without
-- it, WHEN would fetch long text from TOAST to compare it. But a column list goes by the columns
-- that the statement names, and a BEFORE trigger may change others; on a table that has one,
-- WHEN decides alone.
DO $$
BEGIN
  IF EXISTS (
    SELECT FROM pg_catalog.pg_trigger
    WHERE tgrelid = {table_name}::regclass AND NOT tgisinternal
      AND tgtype & 1 = 1 AND tgtype & 2 = 2 AND tgtype & 16 = 16  -- row, before, update
  ) THEN
    CREATE TRIGGER {capture_update} AFTER UPDATE ON {table}
      FOR EACH ROW WHEN ({changed}) EXECUTE FUNCTION {capture}();
  ELSE
    CREATE TRIGGER {capture_update} AFTER UPDATE OF {captured} ON {table}
      FOR EACH ROW WHEN ({changed}) EXECUTE FUNCTION {capture}();
  END IF;
END
$$;

CREATE TRIGGER {capture_delete} AFTER DELETE ON {table}
  FOR EACH ROW EXECUTE FUNCTION {capture}();

CREATE TRIGGER {capture_truncate} AFTER TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION {capture}();
