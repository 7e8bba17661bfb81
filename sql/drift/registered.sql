-- The version of the schema pgsearch, and the search indexes of the registry with their embeddings.
-- Older versions of the registry lack columns, so the rows are taken as they are.
SELECT jsonb_build_object(
  'version', (SELECT max(version) FROM pgsearch.installation),
  'indexes', (
    SELECT jsonb_agg(
      to_jsonb(i) || jsonb_build_object('embeddings', (
        SELECT jsonb_agg(to_jsonb(e) - 'fingerprint' ORDER BY e.id) FROM pgsearch.embedding AS e
        WHERE e.search_index_id = i.id
      ))
      ORDER BY i.schema_name, i.name
    )
    FROM pgsearch.search_index AS i
  )
)::text
