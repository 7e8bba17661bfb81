-- About how many passages there are, whether row-level security holds for the table, and where its
-- documents are.
SELECT
  (SELECT count(*) FROM (SELECT FROM {chunk} LIMIT %(limit)s) AS few),
  (SELECT greatest(reltuples, 0)::bigint FROM pg_catalog.pg_class WHERE oid = {chunk_name}::regclass),
  (SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = {document_name}::regclass),
  (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {generation})
