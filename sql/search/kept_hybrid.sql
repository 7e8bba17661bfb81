-- What either leg has found, scored exactly in both.
WITH
term AS MATERIALIZED (
  SELECT * FROM unnest(answer.brought.terms, answer.brought.idfs) AS term (term, idf)
),
question AS MATERIALIZED (
  SELECT answer.brought.bound AS bound, answer.brought.mean_length AS mean_length
),
{near},
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
