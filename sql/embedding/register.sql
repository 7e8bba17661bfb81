INSERT INTO pgsearch.embedding
  (search_index_id, name, column_name, index_name, model, dimensions, m, ef_construction{adopted_columns})
SELECT i.id, {embedding_literal}, {column_literal}, {hnsw_index_literal}, {model}::jsonb,
       {dimensions}, {m}, {ef_construction}{adopted_values}
FROM pgsearch.search_index AS i
WHERE i.schema_name = {schema_literal} AND i.name = {index_literal}
ON CONFLICT (search_index_id, name) DO NOTHING;
