,
  (SELECT jsonb_build_object('terms', coalesce(jsonb_agg(jsonb_build_object(
     'term', asked.word, 'documents', asked.document_frequency, 'idf', asked.idf,
     'tier', asked.tier, 'frequency', pgsearch.term_frequency(document.tsv, asked.term)
   ) ORDER BY asked.idf DESC, asked.word), '[]'))
   FROM {document} AS document CROSS JOIN asked
   WHERE ({document_key}) = ({hit_key})) AS explanation
