-- The best of what was scored in both legs.
fused AS (
  SELECT
    ranked.*,
    {fused_score}{boosted} AS score
  FROM scored AS ranked
),
best AS (
  SELECT * FROM fused ORDER BY score DESC, {key} LIMIT {k} OFFSET {skip}
)
SELECT
  {best_key},
  best.score,
  best.keyword_score,
  best.keyword_rank::integer AS keyword_rank,
  best.similarity,
  best.vector_rank::integer AS vector_rank,
  chunk.content AS passage,
  coalesce(chunk.generation <> best.generation, false) AS stale,
  {encoder} AS encoder
FROM best
LEFT JOIN {chunk} AS chunk
  ON ({chunk_key}) = ({best_key}) AND chunk.ordinal = coalesce(best.ordinal, 0) {timely_passage}
ORDER BY best.score DESC, {best_key}
