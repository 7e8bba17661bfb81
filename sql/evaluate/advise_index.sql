CREATE INDEX pgsearch_sample_hnsw ON pg_temp.pgsearch_sample
USING hnsw (({indexed}) {operators}) WITH (m = {m}, ef_construction = {ef_construction})
