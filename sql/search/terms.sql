  SELECT term, document_frequency, idf, tier, mean_length
  FROM {terms}({query}, greatest({keyword_depth}, 50){terms_configuration})
