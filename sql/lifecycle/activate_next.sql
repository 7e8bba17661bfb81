-- Activates a ready embedding that a migration asked for; else the oldest one of a search index on
-- which none was ever active, as soon as it is ready.
WITH next AS (
  SELECT i.schema_name, i.name AS index_name, e.name
  FROM pgsearch.embedding AS e
  JOIN pgsearch.search_index AS i ON i.id = e.search_index_id
  WHERE i.id = %(id)s AND e.state = 'ready'
    AND (e.activate_when_ready OR NOT EXISTS (
      SELECT FROM pgsearch.embedding AS other
      WHERE other.search_index_id = i.id
        AND (other.activated_at IS NOT NULL OR other.id < e.id AND other.state IN ('filling', 'indexing'))
    ))
  ORDER BY e.activate_when_ready DESC, e.id
  LIMIT 1
)
SELECT name, pgsearch.activate_embedding(schema_name, index_name, name) FROM next
