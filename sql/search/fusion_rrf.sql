-- Reciprocal ranks, of those legs that have found it.
    coalesce({keyword_weight} / (60 + keyword_rank), 0)
      + coalesce(1.0::double precision / (60 + vector_rank), 0)
