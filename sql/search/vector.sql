-- Vectors alone.
WITH {given}
{few}
{vector_leg},
best AS (
  SELECT ranked.*, ranked.similarity{boosted} AS score
  FROM vector_leg AS ranked
  ORDER BY score DESC, {key} LIMIT {k} OFFSET {skip}
)
SELECT
  {best_key},
  best.score,
  NULL::double precision AS keyword_score,
  NULL::integer AS keyword_rank,
  best.similarity,
  best.vector_rank::integer AS vector_rank,
  chunk.content AS passage,
  coalesce(chunk.generation <> best.generation, false) AS stale,
  {encoder} AS encoder
FROM best
LEFT JOIN {chunk} AS chunk
  ON ({chunk_key}) = ({best_key}) AND chunk.ordinal = best.ordinal {timely_passage}
ORDER BY best.score DESC, {best_key}
