-- One query, answered from both legs in one statement. What either leg finds is scored exactly in
-- both, so that a document is never judged only by the leg that happened to find it.
WITH {given}
{few}
{question},
{keyword_leg},
{vector_leg},
candidate AS MATERIALIZED (
  SELECT
    {key}, coalesce(keyword_leg.generation, vector_leg.generation) AS generation,
    keyword_leg.keyword_score, keyword_leg.keyword_rank,
    vector_leg.similarity, vector_leg.ordinal, vector_leg.vector_rank
  FROM keyword_leg FULL JOIN vector_leg USING ({key})
),
scored AS MATERIALIZED (
  SELECT
    {candidate_key}, candidate.generation, candidate.keyword_rank, candidate.vector_rank,
    coalesce(candidate.keyword_score, (
      SELECT sum({document_bm25})
      FROM {document} AS document CROSS JOIN term
      WHERE ({document_key}) = ({candidate_key})
    )) AS keyword_score,
    coalesce(candidate.similarity, closest.similarity) AS similarity,
    coalesce(candidate.ordinal, closest.ordinal) AS ordinal
  FROM candidate
  LEFT JOIN LATERAL (
    SELECT chunk.ordinal, 1 - ({distance}) AS similarity
    FROM {chunk} AS chunk
    WHERE candidate.similarity IS NULL
      AND ({chunk_key}) = ({candidate_key}) AND {has_vector} {timely_closest}
    -- `+ 0` keeps the HNSW index out: this is a handful of rows by primary key.
    ORDER BY ({distance}) + 0
    LIMIT 1
  ) AS closest ON true
),
{fused}
