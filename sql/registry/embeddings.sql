SELECT id, search_index_id, name, column_name, index_name, model, m, ef_construction, state,
       fingerprint, adopt_column, adopt_generation, filled_at IS NOT NULL AS filled, token_price,
       vector_type, index_type
FROM pgsearch.embedding
ORDER BY id
