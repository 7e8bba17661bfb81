-- Both on one scale: similarity in units of its own spread, BM25 as a share of its bound. A document
    -- that has no vector yet counts as the least similar of the candidates.
    coalesce(coalesce(similarity, min(similarity) OVER ()) / {similarity_stddev}, 0)
      + {keyword_weight} * coalesce(keyword_score / (SELECT bound FROM question), 0)
