WITH asked AS MATERIALIZED (
  SELECT term, btrim(term::text, '''') AS word, document_frequency, idf, tier
  FROM {terms}({query}, {depth}{configuration})
)
