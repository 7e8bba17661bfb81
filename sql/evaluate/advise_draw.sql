-- Vectors drawn out of an embedding's column, numbered in no order, the same ones each time. Of a
-- large table some pages are read, of another one all rows; vectors themselves only of those drawn.
CREATE TEMPORARY TABLE pgsearch_drawn WITH (toast_tuple_target = 128) AS
SELECT row_number() OVER (ORDER BY drawn.place)::integer AS n,
       drawn.embedding::vector({dimensions}) AS embedding
FROM (
  SELECT chunk.{column} AS embedding, hashtextextended(chunk.ctid::text, 0) AS place
  FROM {chunk} AS chunk TABLESAMPLE {method} ({percent}) REPEATABLE (0)
  WHERE chunk.{column} IS NOT NULL
  ORDER BY place
  LIMIT {limit}
) AS drawn
-- A vector of zeros has no direction: its distance is NaN, which is more than any number.
WHERE drawn.embedding <=> drawn.embedding < 1
