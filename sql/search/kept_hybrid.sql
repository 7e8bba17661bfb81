-- What either leg has found, scored exactly in both.
WITH
term AS MATERIALIZED (
  SELECT * FROM unnest(answer.brought.terms, answer.brought.idfs) AS term (term, idf)
),
question AS MATERIALIZED (
  SELECT answer.brought.bound AS bound, answer.brought.mean_length AS mean_length
),
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
),
scored AS MATERIALIZED (
  SELECT
    {precise_key}, coalesce(brought.generation, vector_leg.generation) AS generation,
    brought.keyword_rank, vector_leg.vector_rank,
    coalesce(brought.keyword_score, (
      SELECT sum({vector_leg_bm25}) FROM term
    )) AS keyword_score,
    coalesce(vector_leg.similarity, 1 - brought.distance) AS similarity,
    coalesce(vector_leg.ordinal, brought.ordinal) AS ordinal
  FROM unnest(
    {brought_arrays}, answer.brought.generations, answer.brought.scores,
    answer.scanned.brought_ordinals, answer.scanned.brought_distances
  ) WITH ORDINALITY
    AS brought ({key}, generation, keyword_score, ordinal, distance, keyword_rank)
  FULL JOIN vector_leg USING ({key})
  WHERE answer.is_last OR EXISTS (SELECT FROM vector_leg)
),
{fused}
