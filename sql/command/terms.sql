WITH asked AS MATERIALIZED (
  SELECT term, btrim(term::text, '''') AS word, document_frequency, idf, tier
  FROM (
{asked_terms}
  ) AS found
)
