          SELECT
            {precise_brought_key}, brought.keyword_score, brought.keyword_score,
            brought.keyword_rank::integer, NULL::double precision, NULL::integer,
            chunk.content, coalesce(chunk.generation <> brought.generation, false), {encoder}
          FROM unnest({brought_arrays}, answer.brought_generations, answer.brought_scores)
            WITH ORDINALITY AS brought ({key}, generation, keyword_score, keyword_rank)
          LEFT JOIN {chunk} AS chunk
            ON ({chunk_key}) = ({brought_key}) AND chunk.ordinal = 0 {timely_brought}
          ORDER BY brought.keyword_rank LIMIT {k} OFFSET {skip}
