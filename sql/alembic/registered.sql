-- The search indexes of the registry with their embeddings, to compare with what is declared.
SELECT
  i.definition,
  coalesce(
    (SELECT jsonb_agg(to_jsonb(e) ORDER BY e.id)
     FROM pgsearch.embedding AS e
     WHERE e.search_index_id = i.id AND e.state <> 'retired'),
    '[]'
  ) AS embeddings
FROM pgsearch.search_index AS i
ORDER BY i.schema_name, i.name
