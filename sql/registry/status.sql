-- One search index for people: what it holds, what waits, how large it is, and how far a fill is.
-- Of a table that would take long to count, PostgreSQL's own running estimate is taken.
SELECT
  large.documents OR large.chunks OR large.queue AS estimated,
  CASE WHEN large.documents THEN known.documents
    ELSE (SELECT count(*) FROM {document}) END AS documents,
  CASE WHEN NOT large.documents
    THEN (SELECT count(*) FROM {document} WHERE truncated) END AS truncated,
  CASE WHEN large.chunks THEN known.chunks ELSE (SELECT count(*) FROM {chunk}) END AS chunks,
  CASE WHEN large.queue THEN known.queue ELSE counted.waiting END AS waiting,
  CASE WHEN NOT large.queue THEN counted.failed END AS failed,
  CASE WHEN NOT large.queue THEN counted.retrying END AS retrying,
  extract(epoch FROM clock_timestamp() - CASE WHEN large.queue
    THEN (SELECT enqueued_at FROM {queue} WHERE failed_at IS NULL ORDER BY queue_id LIMIT 1)
    ELSE counted.oldest END)::double precision AS oldest_s,
  CASE WHEN NOT large.queue THEN (
    SELECT last_error FROM {queue} WHERE failed_at IS NOT NULL OR attempts > 0
    ORDER BY failed_at DESC NULLS LAST, not_before DESC NULLS LAST LIMIT 1
  ) END AS last_error,
  pg_table_size({document_name}) AS document_bytes,
  pg_table_size({chunk_name}) AS chunk_bytes,
  pg_relation_size({tsv_index_name}) AS keyword_index_bytes,
  -- About how many rows the source has; NULL where nothing was ever counted.
  source.rows,
  coalesce(fill.rows, 0) AS fill_rows,
  extract(epoch FROM clock_timestamp() - fill.started_at)::double precision AS fill_s,
  -- Of what the fill has put into the queue. A reconciliation, and an added embedding, put theirs
  -- there later.
  CASE WHEN backfill.enqueued_at BETWEEN fill.started_at AND coalesce(i.filled_at, 'infinity')
    THEN CASE WHEN large.queue THEN known.queue ELSE counted.backfill END
    ELSE 0 END AS backlog
FROM pgsearch.search_index AS i
-- One that has not begun has done nothing yet: what is noted is of the one before.
LEFT JOIN LATERAL (
  SELECT i.fill_rows AS rows, i.fill_started_at AS started_at
  WHERE i.filled_at IS NOT NULL OR i.fill_key IS NOT NULL
) AS fill ON true
CROSS JOIN (
  SELECT
    pg_relation_size({document_name}) > %(large)s AS documents,
    pg_relation_size({chunk_name}) > %(large)s AS chunks,
    pg_relation_size({queue_name}) > %(large)s AS queue
) AS large
CROSS JOIN (
  SELECT
    max(c.rows) FILTER (WHERE c.oid = {document_name}::regclass) AS documents,
    max(c.rows) FILTER (WHERE c.oid = {chunk_name}::regclass) AS chunks,
    max(c.rows) FILTER (WHERE c.oid = {queue_name}::regclass) AS queue
  FROM (
    SELECT oid, greatest(reltuples, pg_stat_get_live_tuples(oid), 0)::bigint AS rows
    FROM pg_catalog.pg_class
    WHERE oid IN ({document_name}::regclass, {chunk_name}::regclass, {queue_name}::regclass)
  ) AS c
) AS known
CROSS JOIN LATERAL (
  SELECT
    count(*) FILTER (WHERE failed_at IS NULL) AS waiting,
    count(*) FILTER (WHERE failed_at IS NULL AND queue_id >= 4611686018427387904) AS backfill,
    count(*) FILTER (WHERE failed_at IS NOT NULL) AS failed,
    count(*) FILTER (WHERE failed_at IS NULL AND attempts > 0) AS retrying,
    min(enqueued_at) FILTER (WHERE failed_at IS NULL) AS oldest
  FROM {queue}
  WHERE NOT large.queue
) AS counted
CROSS JOIN (
  SELECT nullif(sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)), 0)::bigint AS rows
  FROM pg_catalog.pg_class AS c
  WHERE c.relkind = 'r' AND (
    c.oid = pgsearch.source_table({schema_literal}, {index_literal})
    OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(
         pgsearch.source_table({schema_literal}, {index_literal})))
  )
) AS source
LEFT JOIN (
  SELECT enqueued_at FROM {queue}
  WHERE queue_id >= 4611686018427387904 AND failed_at IS NULL ORDER BY queue_id LIMIT 1
) AS backfill ON true
WHERE i.id = %(id)s
