-- What the sample's vectors take, in their rows or out of them, and what its HNSW index takes, for
-- each vector.
SELECT
  CASE WHEN pg_relation_size(c.reltoastrelid) > 0
    THEN pg_total_relation_size(c.reltoastrelid) / sample.vectors + 18
    ELSE sample.bytes END,
  coalesce(pg_relation_size(to_regclass('pg_temp.pgsearch_sample_hnsw')), 0) / sample.vectors
FROM pg_catalog.pg_class AS c,
     (SELECT count(*)::double precision, avg(pg_column_size(embedding))::double precision
      FROM pg_temp.pgsearch_sample) AS sample (vectors, bytes)
WHERE c.oid = 'pg_temp.pgsearch_sample'::regclass
