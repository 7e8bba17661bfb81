-- The nearest documents that are there. They are looked up in the order of distance, so that it is
-- done for no more than are asked for. If there are too few, for many passages belong to one or rows
-- are gone, there is nothing, and a further scan brings others.
WITH
near AS MATERIALIZED (
  SELECT {document_key}, document.generation, nearest.ordinal, nearest.distance
  FROM (
    SELECT * FROM (
      SELECT DISTINCT ON ({key}) *
      FROM unnest({near_arrays}, answer.scanned.ordinals, answer.scanned.distances)
        AS passage ({key}, ordinal, distance)
      ORDER BY {key}, distance, ordinal
    ) AS passage
    ORDER BY distance, {key}
  ) AS nearest
  JOIN {document} AS document ON ({document_key}) = ({nearest_key}) AND document.length >= 0
  ORDER BY nearest.distance, {document_key}
  LIMIT {k} OFFSET {skip}
),
best AS (
  SELECT
    near.*, 1 - near.distance AS similarity,
    {skip} + row_number() OVER (ORDER BY near.distance, {near_key}) AS vector_rank
  FROM near
  WHERE answer.is_last OR (SELECT count(*) = {k} FROM near)
)
SELECT
  {best_key}, best.similarity, NULL::double precision, NULL::integer,
  best.similarity, best.vector_rank::integer,
  chunk.content, coalesce(chunk.generation <> best.generation, false), {encoder}
FROM best
LEFT JOIN {chunk} AS chunk
  ON ({chunk_key}) = ({best_key}) AND chunk.ordinal = best.ordinal {timely_passage}
ORDER BY best.vector_rank
