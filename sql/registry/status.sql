-- One search index for people: what it holds, what waits, how large it is.
SELECT
  (SELECT count(*) FROM {document}) AS documents,
  (SELECT count(*) FROM {document} WHERE truncated) AS truncated,
  (SELECT count(*) FROM {chunk}) AS chunks,
  waiting, failed, oldest_s,
  (SELECT last_error FROM {queue} WHERE failed_at IS NOT NULL ORDER BY failed_at DESC LIMIT 1)
    AS last_error,
  pg_table_size({document_name}) AS document_bytes,
  pg_table_size({chunk_name}) AS chunk_bytes,
  pg_relation_size({tsv_index_name}) AS keyword_index_bytes
FROM (
  SELECT
    count(*) FILTER (WHERE failed_at IS NULL) AS waiting,
    count(*) FILTER (WHERE failed_at IS NOT NULL) AS failed,
    extract(epoch FROM clock_timestamp() - min(enqueued_at) FILTER (WHERE failed_at IS NULL))
      ::double precision AS oldest_s
  FROM {queue}
) AS queue
