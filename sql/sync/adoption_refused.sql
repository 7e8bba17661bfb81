-- The embedding is filled by its model, like any other.
WITH refused AS (
  UPDATE pgsearch.embedding SET adopt_column = NULL, adopt_generation = NULL
  WHERE id = %(id)s AND adopt_column IS NOT NULL
  RETURNING search_index_id, name
)
INSERT INTO pgsearch.event (search_index_id, embedding, kind, detail)
SELECT search_index_id, name, 'adoption refused', %(detail)s FROM refused
