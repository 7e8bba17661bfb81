-- What the documents of some texts should be. No table is read: nobody has to wait meanwhile.
SELECT sha256(tsvectorsend(indexed.tsv)), pgsearch.token_count(indexed.tsv), indexed.truncated
FROM unnest(%(configurations)s::oid[], {text_arrays}) WITH ORDINALITY
    AS given (configuration, {text_names}, place),
  pgsearch.document_tsvector(given.configuration::regconfig, ARRAY[{texts}], {weights}) AS indexed
ORDER BY given.place
