-- Lets {role} ask search index {index}: the least that its function and the ORM's statement need.
-- Row-level security goes on deciding which rows it finds.
DO $pgsearch$
DECLARE
  source regclass := pgsearch.source_table({schema_literal}, {index_literal});
  read text;
  routine regprocedure;
BEGIN
  IF source IS NULL OR to_regclass({filter_view_name}) IS NULL THEN
    RAISE EXCEPTION 'pgsearch: there is no search index % to grant on', quote_ident({index_literal})
      USING ERRCODE = 'undefined_object',
            HINT = 'Create it before, with op.create_search_index(); op.alter_search_index() ends a suspension.';
  END IF;
  GRANT USAGE ON SCHEMA {schema} TO {role};
  GRANT SELECT ON {document}, {chunk}, {filter_view} TO {role};
  -- Columns that filters and policies compare, by the names that they have now.
  SELECT string_agg(quote_ident(a.attname), ', ') INTO read
  FROM pg_catalog.pg_attribute AS a
  WHERE a.attrelid = source
    AND a.attnum = ANY (pgsearch.columns_read({filter_view_name}::regclass, source));
  EXECUTE format('GRANT SELECT (%s) ON %s TO %s', read, source, {role_literal});
  FOR routine IN {search_routines}
  LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', routine, {role_literal});
  END LOOP;
END
$pgsearch$;
