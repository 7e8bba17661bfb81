-- Lets {role} work on search index {index}: the least that a worker needs, but for building HNSW
-- indexes, which only the owner of the table {chunk} can.
DO $pgsearch$
DECLARE
  source regclass := pgsearch.source_table({schema_literal}, {index_literal});
BEGIN
  IF source IS NULL THEN
    RAISE EXCEPTION 'pgsearch: there is no search index % to grant on', quote_ident({index_literal})
      USING ERRCODE = 'undefined_object',
            HINT = 'Create it before, with op.create_search_index(); op.alter_search_index() ends a suspension.';
  END IF;
  IF EXISTS (
    SELECT FROM pg_catalog.pg_class AS c, pg_catalog.pg_roles AS r
    WHERE c.relrowsecurity AND c.oid IN (source, {document_name}::regclass)
      AND r.oid = {role_literal}::regrole AND NOT r.rolsuper AND NOT r.rolbypassrls
      AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
  ) THEN
    RAISE EXCEPTION 'pgsearch: row-level security hides rows of % from %, and a worker reads all of them',
        source, {role_literal}
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT =
        'Make it a member of the role that owns the table and its search index, or give it BYPASSRLS, before.';
  END IF;
  GRANT USAGE ON SCHEMA {schema} TO {role};
  EXECUTE format('GRANT SELECT ON %s TO %s', source, {role_literal});
  GRANT SELECT, INSERT, UPDATE, DELETE ON {document}, {chunk}, {queue}, {token} TO {role};
  GRANT SELECT ON SEQUENCE {generation} TO {role};
  EXECUTE format('GRANT USAGE ON SEQUENCE %s TO %s',
    pg_get_serial_sequence({queue_name}, 'queue_id'), {role_literal});
  GRANT EXECUTE ON FUNCTION {fill}(jsonb, integer), {rewrite}(jsonb), {watch}(), {refresh}() TO {role};
  GRANT UPDATE ON pgsearch.search_index, pgsearch.embedding TO {role};
  GRANT SELECT, INSERT ON pgsearch.event TO {role};
  GRANT INSERT, UPDATE ON pgsearch.encoder TO {role};
END
$pgsearch$;
