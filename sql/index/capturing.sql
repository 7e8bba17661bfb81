-- From here on every change is captured, and workers may read what was there before.
UPDATE pgsearch.search_index SET
  capturing = true, replicated = NULL,
  -- Those of which the first fill will read the rows; a worker takes notice of all others.
  partitions = CASE WHEN {is_new} AND filled_at IS NULL AND fill_key IS NULL
    THEN (SELECT array_agg(relid::oid ORDER BY relid::oid)
          FROM pg_catalog.pg_partition_tree({table_name}::regclass)
          WHERE isleaf AND relid <> {table_name}::regclass)
    ELSE partitions END
WHERE schema_name = {schema_literal} AND name = {index_literal};
