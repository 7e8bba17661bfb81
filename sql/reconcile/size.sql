-- About how many rows the table has; those of one that was never analysed are counted.
SELECT CASE
  WHEN known.rows >= 0 THEN known.rows
  ELSE (SELECT count(*) FROM {source_view})
END
FROM (
  SELECT CASE WHEN bool_and(leaf.reltuples >= 0) THEN sum(leaf.reltuples) ELSE -1 END::bigint AS rows
  FROM pg_catalog.pg_partition_tree(pgsearch.source_table({schema_literal}, {index_literal})) AS tree
  JOIN pg_catalog.pg_class AS leaf ON leaf.oid = tree.relid
  WHERE tree.isleaf
) AS known
