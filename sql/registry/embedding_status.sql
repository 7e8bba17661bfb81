-- How much of one embedding is there; its index has no size until it is built.
SELECT
  (SELECT count({column}) FROM {chunk}) AS vectors,
  pg_relation_size(to_regclass({hnsw_index_name})) AS index_bytes,
  (SELECT i.indisvalid FROM pg_catalog.pg_index AS i
   WHERE i.indexrelid = to_regclass({hnsw_index_name})) AS index_valid
