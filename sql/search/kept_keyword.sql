WITH best AS (
  SELECT *
  FROM unnest({brought_arrays}, answer.brought.generations, answer.brought.scores)
    WITH ORDINALITY AS brought ({key}, generation, score, keyword_rank)
  ORDER BY brought.keyword_rank LIMIT {k} OFFSET {skip}
)
SELECT
  {precise_best_key}, best.score, best.score, best.keyword_rank::integer,
  NULL::double precision, NULL::integer,
  chunk.content, coalesce(chunk.generation <> best.generation, false), {encoder}
FROM best
LEFT JOIN {chunk} AS chunk ON ({chunk_key}) = ({best_key}) AND chunk.ordinal = 0 {timely_passage}
ORDER BY best.keyword_rank
