-- What an embedding's column holds, how its HNSW index reads it (NULL without one), and the bytes of
-- the table's rows, vectors not counted.
SELECT
  t.typname::text,
  (SELECT o.opcname::text
   FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_opclass AS o ON o.oid = i.indclass[0]
   WHERE i.indexrelid = to_regclass({hnsw_index_name})),
  pg_relation_size(a.attrelid)
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = {chunk_name}::regclass AND a.attname = {column_literal} AND NOT a.attisdropped
