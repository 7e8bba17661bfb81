-- The nearest passage of each document that is there. If there are too few documents, for many
-- passages belong to one or rows are gone, there is nothing, and a further scan brings others.
near AS MATERIALIZED (
  SELECT DISTINCT ON ({document_key})
    {document_key}, document.generation, document.tsv, document.length,
    nearest.ordinal, nearest.distance
  FROM unnest({near_arrays}, answer.scanned.ordinals, answer.scanned.distances)
    AS nearest ({key}, ordinal, distance)
  JOIN {document} AS document ON ({document_key}) = ({nearest_key}) AND document.length >= 0
  ORDER BY {document_key}, nearest.distance, nearest.ordinal
),
vector_leg AS MATERIALIZED (
  SELECT
    near.*, 1 - near.distance AS similarity,
    row_number() OVER (ORDER BY near.distance, {near_key}) AS vector_rank
  FROM near
  WHERE answer.is_last OR (SELECT count(*) >= {k} + {skip} FROM near)
  ORDER BY near.distance, {near_key}
  LIMIT {depth}
)
