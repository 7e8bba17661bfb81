-- Takes from {role} what it needs to work on search index {index}, but for what it needs to ask it,
-- or to work on others, and the use of the schema.
DO $pgsearch$
DECLARE
  source regclass := pgsearch.source_table({schema_literal}, {index_literal});
  asks boolean := EXISTS (
    SELECT FROM pg_catalog.pg_proc AS p, aclexplode(p.proacl) AS held
    WHERE p.oid = to_regprocedure({terms_name_now}) AND held.grantee = {role_literal}::regrole
  );
  -- Tables of other search indexes on which it works.
  others regclass[] := (
    SELECT array_agg(pgsearch.source_table(i.schema_name, i.name))
    FROM pgsearch.search_index AS i
    JOIN pg_catalog.pg_proc AS p
      ON p.oid = to_regprocedure(format('%I.%I(jsonb,integer)', i.schema_name, i.name || '_fill'))
    CROSS JOIN LATERAL aclexplode(p.proacl) AS held
    WHERE held.grantee = {role_literal}::regrole
      AND (i.schema_name, i.name) <> ({schema_literal}, {index_literal})
  );
BEGIN
  IF to_regclass({document_name}) IS NOT NULL THEN
    REVOKE INSERT, UPDATE, DELETE ON {document}, {chunk}, {queue}, {token} FROM {role};
    REVOKE SELECT ON {queue}, {token} FROM {role};
    IF NOT asks THEN
      REVOKE SELECT ON {document}, {chunk} FROM {role};
    END IF;
    REVOKE SELECT ON SEQUENCE {generation} FROM {role};
    EXECUTE format('REVOKE USAGE ON SEQUENCE %s FROM %s',
      pg_get_serial_sequence({queue_name}, 'queue_id'), {role_literal});
    REVOKE EXECUTE ON FUNCTION
      {fill}(jsonb, integer), {rewrite}(jsonb), {watch}(), {refresh}() FROM {role};
    IF source IS NOT NULL AND source <> ALL (coalesce(others, '{{}}')) THEN
      EXECUTE format('REVOKE SELECT ON %s FROM %s', source, {role_literal});
    END IF;
  END IF;
  IF others IS NULL THEN
    REVOKE UPDATE ON pgsearch.search_index, pgsearch.embedding FROM {role};
    REVOKE SELECT, INSERT ON pgsearch.event FROM {role};
    REVOKE INSERT, UPDATE ON pgsearch.encoder FROM {role};
  END IF;
END
$pgsearch$;
