-- What the sample's vectors take, in their rows or out of them, and what its HNSW index takes, for
-- each vector. Vectors that came out of the row stay out of it, others do not: then it is what the
-- table takes, less the 32 bytes of a row without its vector.
SELECT
  CASE WHEN pg_relation_size(c.reltoastrelid) > 0
    THEN (pg_relation_size(c.oid) + pg_total_relation_size(c.reltoastrelid)) / sample.vectors - 32
    ELSE sample.bytes END,
  coalesce(pg_relation_size(to_regclass('pg_temp.pgsearch_sample_hnsw')), 0) / sample.vectors
FROM pg_catalog.pg_class AS c,
     (SELECT count(*)::double precision, avg(pg_column_size(embedding))::double precision
      FROM pg_temp.pgsearch_sample) AS sample (vectors, bytes)
WHERE c.oid = 'pg_temp.pgsearch_sample'::regclass
