-- From here on every change is captured, and workers may read what was there before.
UPDATE pgsearch.search_index SET
  capturing = true,
  partitions = (SELECT array_agg(relid::oid ORDER BY relid::oid)
                FROM pg_catalog.pg_partition_tree({table_name}::regclass)
                WHERE isleaf AND relid <> {table_name}::regclass)
WHERE schema_name = {schema_literal} AND name = {index_literal};
