-- Workers that bring an index without embeddings up to date look at its row while they do.
WITH found AS MATERIALIZED (
  SELECT i.id FROM pgsearch.search_index AS i
  WHERE i.schema_name = {schema_literal} AND i.name = {index_literal}
  FOR NO KEY UPDATE
),
added AS (
  INSERT INTO pgsearch.embedding
    (search_index_id, name, column_name, index_name, model, dimensions, m, ef_construction{adopted_columns}{priced_columns}{precise_columns})
  SELECT i.id, {embedding_literal}, {column_literal}, {hnsw_index_literal}, {model}::jsonb,
         {dimensions}, {m}, {ef_construction}{adopted_values}{priced_values}{precise_values}
  FROM found JOIN pgsearch.search_index AS i USING (id)
  ON CONFLICT (search_index_id, name) DO NOTHING
  RETURNING search_index_id
)
-- Where there was no embedding, nothing was cut into chunks: all keys go into the queue again.
UPDATE pgsearch.search_index AS i SET refill_chunks = true, fill_key = NULL, filled_at = NULL
FROM added
WHERE i.id = added.search_index_id AND i.filled_at IS NOT NULL
  AND NOT EXISTS (
    SELECT FROM pgsearch.embedding AS e WHERE e.search_index_id = i.id AND e.state <> 'retired'
  );
