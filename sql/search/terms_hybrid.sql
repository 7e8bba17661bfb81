  -- Beside vectors, the documents of fewer terms are enough: what the vector leg brings is scored by
  -- all terms anyway. The rarest one stays, and where it may bring few, the next is of tier 2.
  SELECT
    term, document_frequency, idf,
    CASE
      WHEN tier = 1 AND total > {budget} AND total > document_frequency
        THEN CASE WHEN total - document_frequency < 2 * greatest({keyword_depth}, 50) THEN 2 END
      ELSE tier
    END AS tier,
    mean_length
  FROM (
    SELECT *, sum(document_frequency) OVER (
      ORDER BY document_frequency, term::text ROWS UNBOUNDED PRECEDING
    ) AS total
    FROM {terms}({query}, greatest({keyword_depth}, 50){terms_configuration})
  ) AS counted
