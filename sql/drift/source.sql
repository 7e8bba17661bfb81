-- The source table of a search index, as it is now. It is found by what reads it and by what is
-- triggered on it, for it may have been renamed, and only then by its name. No row if it is gone.
SELECT jsonb_build_object(
  'oid', source.oid::bigint,
  'schema', source.relnamespace::regnamespace::text,
  'is_in_place', source.relnamespace = to_regnamespace(quote_ident({schema_literal})),
  'name', source.relname,
  'has_children', source.relkind = 'r'
    AND EXISTS (SELECT FROM pg_catalog.pg_inherits AS h WHERE h.inhparent = source.oid),
  'is_secured', source.relrowsecurity,
  'columns', (
    SELECT jsonb_object_agg(a.attnum, a.attname) FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = source.oid AND a.attnum > 0 AND NOT a.attisdropped
  ),
  -- By number; the shown name comes with the schema where it is not on the search path.
  'leaves', (
    SELECT jsonb_object_agg(p.relid::oid::bigint, p.relid::text)
    FROM pg_catalog.pg_partition_tree(source.oid) AS p WHERE p.isleaf AND p.relid <> source.oid
  ),
  'has_before_update', EXISTS (
    SELECT FROM pg_catalog.pg_trigger AS t
    WHERE (t.tgrelid = source.oid
           OR t.tgrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(source.oid)))
      AND NOT t.tgisinternal AND t.tgtype & 1 = 1 AND t.tgtype & 2 = 2 AND t.tgtype & 16 = 16
  ),
  'triggers', (
    SELECT jsonb_agg(jsonb_build_object(
      'table', t.tgrelid::bigint, 'name', t.tgname, 'type', t.tgtype, 'enabled', t.tgenabled,
      'is_ours', t.tgfoid = capture.oid, 'has_columns', cardinality(t.tgattr::smallint[]) > 0,
      'is_inherited', t.tgparentid <> 0
    ))
    FROM pg_catalog.pg_trigger AS t
    WHERE (t.tgrelid = source.oid
           OR t.tgrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(source.oid)))
      AND (t.tgfoid = capture.oid OR t.tgname IN ({trigger_names}))
  )
)::text
FROM (
  SELECT (
    SELECT p.oid FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = to_regnamespace(quote_ident({schema_literal}))
      AND p.proname = {capture_function} AND p.pronargs = 0
  ) AS oid
) AS capture
JOIN pg_catalog.pg_class AS source ON source.relkind IN ('r', 'p') AND source.oid = coalesce(
  (
    SELECT t.typrelid FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_type AS t ON t.oid = p.proargtypes[0] AND t.typrelid <> 0
    WHERE p.pronamespace = 'pgsearch'::regnamespace AND p.proname = {reader_function}
  ),
  (
    SELECT t.tgrelid FROM pg_catalog.pg_trigger AS t
    WHERE t.tgfoid = capture.oid AND t.tgparentid = 0 AND t.tgtype & 1 = 1 LIMIT 1
  ),
  to_regclass({table_name})
)
