-- Keywords alone: BM25.
WITH {few}
{question},
{keyword_leg},
best AS (
  SELECT ranked.*, ranked.keyword_score{boosted} AS score
  FROM keyword_leg AS ranked
  ORDER BY score DESC, {key} LIMIT {k} OFFSET {skip}
)
SELECT
  {best_key},
  best.score,
  best.keyword_score,
  best.keyword_rank::integer AS keyword_rank,
  NULL::double precision AS similarity,
  NULL::integer AS vector_rank,
  chunk.content AS passage,
  coalesce(chunk.generation <> best.generation, false) AS stale,
  {encoder} AS encoder
FROM best
LEFT JOIN {chunk} AS chunk ON ({chunk_key}) = ({best_key}) AND chunk.ordinal = 0 {timely_passage}
ORDER BY best.score DESC, {best_key}
