SELECT id, search_index_id, name, column_name, index_name, model, m, ef_construction, state,
       fingerprint, adopt_column, adopt_generation
FROM pgsearch.embedding
ORDER BY id
