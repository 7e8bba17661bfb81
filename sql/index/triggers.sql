-- The only thing added to {table}: triggers. Each depends on the columns that are read and on what
-- reads them, so that they go together if any of it is dropped with CASCADE, and writes go on.
DECLARE
  part regclass;
  capturing record;
  -- Which of them were enabled for what is replicated, too; by table and name.
  replicated jsonb;
BEGIN
  -- The table, then its partitions: all of them together within the time that was promised.
  FOR part IN
    SELECT relation FROM (
      SELECT {table_name}::regclass AS relation, 0 AS level
      UNION ALL
      SELECT relid, level FROM pg_catalog.pg_partition_tree({table_name}::regclass) WHERE level > 0
    ) AS tree
    ORDER BY level, relation
  LOOP
    PERFORM set_config('lock_timeout', greatest(1,
      extract(epoch FROM until - clock_timestamp()) * 1000)::integer::text, true);
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', part);
  END LOOP;
  replicated := coalesce(
    (SELECT jsonb_object_agg(tgrelid::oid || ' ' || tgname, tgenabled IN ('A', 'R'))
     FROM pg_catalog.pg_trigger WHERE tgfoid = to_regproc({capture_name})),
    -- A suspension has taken the triggers away, and noted it.
    (SELECT i.replicated FROM pgsearch.search_index AS i
     WHERE i.schema_name = {schema_literal} AND i.name = {index_literal})
  );

CREATE OR REPLACE TRIGGER {capture_insert} AFTER INSERT ON {table}
  FOR EACH ROW WHEN (true OR ROW({new_read}) IS NULL OR {reader}(NEW.*) IS NULL)
  EXECUTE FUNCTION {capture}();

CREATE OR REPLACE TRIGGER {capture_delete} AFTER DELETE ON {table}
  FOR EACH ROW WHEN (true OR ROW({old_read}) IS NULL OR {reader}(OLD.*) IS NULL)
  EXECUTE FUNCTION {capture}();

-- An update that leaves the text alone must cost nothing. The column list sees to that: without
-- it, WHEN would fetch long text from TOAST to compare it. But a column list goes by the columns
-- that the statement names, and a BEFORE trigger may change others; on a table that has one,
-- WHEN decides alone.
IF EXISTS (
  SELECT FROM pg_catalog.pg_trigger
  WHERE (tgrelid = {table_name}::regclass
         OR tgrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree({table_name}::regclass)))
    AND NOT tgisinternal
    AND tgtype & 1 = 1 AND tgtype & 2 = 2 AND tgtype & 16 = 16  -- row, before, update
) THEN
  CREATE OR REPLACE TRIGGER {capture_update} AFTER UPDATE ON {table}
    FOR EACH ROW WHEN ({changed} OR (false AND {reader}(NEW.*) IS NULL))
    EXECUTE FUNCTION {capture}();
ELSE
  CREATE OR REPLACE TRIGGER {capture_update} AFTER UPDATE OF {captured} ON {table}
    FOR EACH ROW WHEN ({changed} OR (false AND {reader}(NEW.*) IS NULL))
    EXECUTE FUNCTION {capture}();
END IF;

-- Before, when the rows of a partition can still be read.
CREATE OR REPLACE TRIGGER {capture_truncate} BEFORE TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION {capture}();

-- Triggers of statements are not handed down to partitions.
FOR part IN
  SELECT relid FROM pg_catalog.pg_partition_tree({table_name}::regclass)
  WHERE isleaf AND relid <> {table_name}::regclass
LOOP
  EXECUTE format(
    'CREATE OR REPLACE TRIGGER %I BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION %s()',
    {truncate_name}, part, {capture_name});
END LOOP;

-- A trigger that is replaced fires by default, as one does that was disabled. A partition that is
-- new does as its table.
FOR capturing IN
  SELECT tgname AS name, tgrelid::regclass AS relation FROM pg_catalog.pg_trigger
  WHERE tgfoid = to_regproc({capture_name}) AND coalesce(
    replicated -> (tgrelid::oid || ' ' || tgname),
    replicated -> ({table_name}::regclass::oid || ' ' || tgname)
  )::boolean
LOOP
  EXECUTE format(
    'ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', capturing.relation, capturing.name);
END LOOP;
END;
