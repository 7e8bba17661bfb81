-- Bytes of an embedding's HNSW index, and about those of its vectors, by a few of them.
SELECT
  coalesce(pg_relation_size(to_regclass({hnsw_index_name})), 0) AS index_bytes,
  coalesce((
    SELECT avg(pg_column_size(sample.vector)) * greatest(c.reltuples, 0)
    FROM (SELECT {column} AS vector FROM {chunk} WHERE {column} IS NOT NULL LIMIT 100) AS sample,
         pg_catalog.pg_class AS c
    WHERE c.oid = {chunk_name}::regclass
    GROUP BY c.reltuples
  ), 0)::bigint AS vector_bytes
