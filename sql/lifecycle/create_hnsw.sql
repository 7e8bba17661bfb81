CREATE INDEX CONCURRENTLY {hnsw_index} ON {chunk}
USING hnsw ({column} vector_cosine_ops) WITH (m = {m}, ef_construction = {ef_construction})
