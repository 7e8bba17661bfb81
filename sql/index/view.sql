-- {table} as search index {index} reads it. It runs with the rights of whoever asks, row-level security included.
CREATE OR REPLACE VIEW {source_view} WITH (security_invoker) AS
SELECT {source_key_columns}, ARRAY[{source_texts}]::text[] AS texts, {source_configuration} AS tsconfig
FROM {table} AS source;

-- It shows nobody more than the table does, which asks for its own privileges.
-- Where somebody has said who may read it, that stays.
IF (SELECT relacl IS NULL FROM pg_catalog.pg_class WHERE oid = {source_view_name}::regclass) THEN
  GRANT SELECT ON {source_view} TO PUBLIC;
END IF;

COMMENT ON VIEW {source_view} IS
  'Search index {index_comment}: the rows as they are read. Made by pgsearch, do not edit';
