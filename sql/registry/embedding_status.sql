-- How much of one embedding is there, of a large table by a sample of its pages; its index has no
-- size until it is built. Of a build by another role's session nobody may know how far it is.
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
  (n.fidelity ->> 'cosine')::double precision AS encoder_cosine,
  (SELECT c.share FROM pgsearch.canary AS c WHERE c.embedding_id = e.id) AS canary_share,
  -- About the tokens of a passage: four characters each, by the first few passages.
  (SELECT avg(length(sample.content)) / 4
   FROM (SELECT content FROM {chunk} LIMIT 200) AS sample)::double precision AS chunk_tokens,
  build.blocks_done, build.blocks_total,
  extract(epoch FROM clock_timestamp() - build.query_start)::double precision AS build_s
FROM pgsearch.embedding AS e
LEFT JOIN (
  SELECT p.blocks_done, p.blocks_total, a.query_start
  FROM pg_catalog.pg_stat_progress_create_index AS p
  JOIN pg_catalog.pg_stat_activity AS a USING (pid)
  WHERE p.datname = current_database() AND p.index_relid = to_regclass({hnsw_index_name})
  ORDER BY a.query_start LIMIT 1
) AS build ON true
LEFT JOIN pgsearch.encoder AS n ON n.embedding_id = e.id AND n.tokens > 0
WHERE e.id = %(id)s
