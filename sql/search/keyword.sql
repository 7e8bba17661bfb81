-- Keywords alone: BM25.
WITH {few}
{question},
{keyword_leg},
best AS (
  SELECT * FROM keyword_leg ORDER BY keyword_rank LIMIT {k} OFFSET {skip}
)
SELECT
  {best_key},
  best.keyword_score AS score,
  best.keyword_score,
  best.keyword_rank::integer AS keyword_rank,
  NULL::double precision AS similarity,
  NULL::integer AS vector_rank,
  chunk.content AS passage,
  coalesce(chunk.generation <> best.generation, false) AS stale
FROM best
LEFT JOIN {chunk} AS chunk ON ({chunk_key}) = ({best_key}) AND chunk.ordinal = 0 {timely_passage}
ORDER BY best.keyword_rank
