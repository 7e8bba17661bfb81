WITH
{near},
best AS (
  SELECT * FROM vector_leg ORDER BY vector_rank LIMIT {k} OFFSET {skip}
)
SELECT
  {best_key}, best.similarity, NULL::double precision, NULL::integer,
  best.similarity, best.vector_rank::integer,
  chunk.content, coalesce(chunk.generation <> best.generation, false), {encoder}
FROM best
LEFT JOIN {chunk} AS chunk
  ON ({chunk_key}) = ({best_key}) AND chunk.ordinal = best.ordinal {timely_passage}
ORDER BY best.vector_rank
