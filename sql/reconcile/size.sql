-- About how many rows the table has; those of one that was never analysed are counted.
SELECT CASE
  WHEN known.rows >= 0 THEN known.rows
  ELSE (SELECT count(*) FROM {source_view})
END
FROM (
  SELECT CASE WHEN bool_and(leaf.reltuples >= 0) THEN sum(leaf.reltuples) ELSE -1 END::bigint AS rows
  FROM pg_catalog.pg_class AS leaf
  -- Only a partitioned table has a tree.
  WHERE leaf.relkind = 'r' AND (
    leaf.oid = pgsearch.source_table({schema_literal}, {index_literal})
    OR leaf.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(
         pgsearch.source_table({schema_literal}, {index_literal})))
  )
) AS known
