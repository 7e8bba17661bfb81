-- The search indexes of the registry with their embeddings, to compare with what is declared. Older
-- versions of the registry lack columns, so they are asked for by name.
SELECT
  i.definition,
  coalesce((to_jsonb(i) ->> 'template_version')::integer, 1) AS template_version,
  coalesce(
    (SELECT jsonb_agg(to_jsonb(e) ORDER BY e.id)
     FROM pgsearch.embedding AS e
     WHERE e.search_index_id = i.id),
    '[]'
  ) AS embeddings,
  -- The table as it is called now: it may have been renamed since.
  (SELECT source.relname
   FROM pg_catalog.pg_proc AS reader
   JOIN pg_catalog.pg_type AS argument ON argument.oid = reader.proargtypes[0]
   JOIN pg_catalog.pg_class AS source ON source.oid = argument.typrelid
   WHERE reader.pronamespace = 'pgsearch'::regnamespace
     AND reader.proname = CASE
       WHEN octet_length(i.schema_name || '.' || i.name) <= 63 THEN i.schema_name || '.' || i.name
       ELSE md5(i.schema_name || '.' || i.name) END) AS table_now
FROM pgsearch.search_index AS i
ORDER BY i.schema_name, i.name
