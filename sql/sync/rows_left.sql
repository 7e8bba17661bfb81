-- About how many rows of the source a fill has to go over, by what was last counted: those without
-- a document, or all where what is there is done again. NULL where nothing was ever counted.
SELECT greatest(sum(c.reltuples) FILTER (WHERE c.reltuples >= 0) - CASE WHEN %(refill)s THEN 0 ELSE (
  SELECT greatest(reltuples, 0) FROM pg_catalog.pg_class WHERE oid = {document_name}::regclass
) END, 0)::bigint
FROM pg_catalog.pg_class AS c
-- What a partitioned table itself knows is the sum of its partitions; only one has a tree.
WHERE c.relkind = 'r' AND (
  c.oid = pgsearch.source_table({schema_literal}, {index_literal})
  OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(
       pgsearch.source_table({schema_literal}, {index_literal})))
)
