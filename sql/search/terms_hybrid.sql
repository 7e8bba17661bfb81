  -- Beside vectors, the documents of fewer terms are enough: what the vector leg brings is scored by
  -- all terms anyway. The rarest one stays, and where it may bring few, the next is of tier 2: of a
  -- table with row-level security it is never said that a term has fewer documents than {fewest}, or
  -- none, so that those bring none for sure.
  SELECT
    term, document_frequency, idf,
    CASE
      WHEN tier = 1 AND total > {budget} AND total > document_frequency
        THEN CASE WHEN brought < 2 * greatest({keyword_depth}, 50) THEN 2 END
      ELSE tier
    END AS tier,
    mean_length
  FROM (
    SELECT
      *, sum(document_frequency) OVER terms AS total,
      coalesce(sum(document_frequency) FILTER (WHERE document_frequency > {fewest}) OVER (
        terms ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS brought
    FROM {terms}({query}, greatest({keyword_depth}, 50){terms_configuration})
    WINDOW terms AS (ORDER BY document_frequency, term::text)
  ) AS counted
