-- Takes from {role} what it needs to ask search index {index}, but for what its work as a worker
-- needs, too, and the use of the schema, which other things may need.
DO $pgsearch$
DECLARE
  source regclass := pgsearch.source_table({schema_literal}, {index_literal});
  is_worker boolean := EXISTS (
    SELECT FROM pg_catalog.pg_proc AS p, aclexplode(p.proacl) AS held
    WHERE p.oid = to_regprocedure({fill_name_literal}) AND held.grantee = {role_literal}::regrole
  );
  read text;
  routine regprocedure;
BEGIN
  IF to_regclass({document_name}) IS NULL THEN
    RETURN;  -- it was dropped, and all privileges on it with it
  END IF;
  IF NOT is_worker THEN
    REVOKE SELECT ON {document}, {chunk} FROM {role};
  END IF;
  IF source IS NOT NULL AND to_regclass({filter_view_name}) IS NOT NULL THEN
    REVOKE SELECT ON {filter_view} FROM {role};
    SELECT string_agg(quote_ident(a.attname), ', ') INTO read
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = source
      AND a.attnum = ANY (pgsearch.columns_read({filter_view_name}::regclass, source))
      -- Where the role may read the whole table, this would take a part of that away.
      AND EXISTS (
        SELECT FROM aclexplode(a.attacl) AS held WHERE held.grantee = {role_literal}::regrole
      );
    IF read IS NOT NULL THEN
      EXECUTE format('REVOKE SELECT (%s) ON %s FROM %s', read, source, {role_literal});
    END IF;
  END IF;
  FOR routine IN {search_routines}
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %s', routine, {role_literal});
  END LOOP;
END
$pgsearch$;
