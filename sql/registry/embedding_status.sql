-- How much of one embedding is there, of a large table by a sample of its pages; its index has no
-- size until it is built.
SELECT
  CASE WHEN pg_relation_size({chunk_name}) > %(large)s THEN (
    SELECT round(%(chunks)s * coalesce(count({column})::double precision / nullif(count(*), 0), 0))
    FROM {chunk} TABLESAMPLE SYSTEM (
      least(100, 100.0 * %(pages)s * 8192 / greatest(pg_relation_size({chunk_name}), 1))
    )
  )::bigint ELSE (SELECT count({column}) FROM {chunk}) END AS vectors,
  pg_relation_size(to_regclass({hnsw_index_name})) AS index_bytes,
  (SELECT i.indisvalid FROM pg_catalog.pg_index AS i
   WHERE i.indexrelid = to_regclass({hnsw_index_name})) AS index_valid,
  extract(epoch FROM clock_timestamp() - e.fill_started_at)::double precision AS fill_s,
  n.version AS encoder_version,
  (n.fidelity ->> 'cosine')::double precision AS encoder_cosine
FROM pgsearch.embedding AS e
LEFT JOIN pgsearch.encoder AS n ON n.embedding_id = e.id AND n.tokens > 0
WHERE e.id = %(id)s
