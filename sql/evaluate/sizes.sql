-- What an embedding takes on disk: its vectors, what one of them takes (of a few; NULL without any),
-- and its HNSW index; and about the tokens of a passage, four characters each.
SELECT
  (SELECT count({column}) FROM {chunk}),
  (SELECT avg(pg_column_size(sample.vector))::double precision
   FROM (SELECT {column} AS vector FROM {chunk} WHERE {column} IS NOT NULL LIMIT 100) AS sample),
  coalesce(pg_relation_size(to_regclass({hnsw_index_name})), 0),
  (SELECT avg(length(sample.content)) / 4
   FROM (SELECT content FROM {chunk} LIMIT 200) AS sample)::double precision
