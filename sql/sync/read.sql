-- Text and generation of the claimed keys in one statement, so that they belong together. The
-- generation is NULL where there is no document, the texts are NULL where there is no source row.
-- The source comes before the document, as in the lock order of a TRUNCATE and its trigger.
SELECT wanted.ordinal, document.generation, source.texts
FROM unnest({key_arrays}) WITH ORDINALITY AS wanted ({key}, ordinal)
LEFT JOIN {source_view} AS source ON ({source_key}) = ({wanted_key})
LEFT JOIN {document} AS document ON ({document_key}) = ({wanted_key})
