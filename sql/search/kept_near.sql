-- The nearest passage of each document that is there. If there are too few documents, for many
-- passages belong to one or rows are gone, there is nothing, and a further scan brings others.
near AS MATERIALIZED (
  SELECT
    {document_key}, document.generation, document.tsv, document.length,
    nearest.ordinal, nearest.distance
  FROM (
    -- Before they are joined: a sort would carry the tsvector along, once for each passage.
    SELECT DISTINCT ON ({key}) *
    FROM unnest({near_arrays}, answer.scanned.ordinals, answer.scanned.distances)
      AS passage ({key}, ordinal, distance)
    ORDER BY {key}, distance, ordinal
  ) AS nearest
  JOIN {document} AS document ON ({document_key}) = ({nearest_key}) AND document.length >= 0
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
