-- The generations that documents have now, to compare with those that were read.
SELECT wanted.ordinal, document.generation
FROM unnest({key_arrays}) WITH ORDINALITY AS wanted ({key}, ordinal)
JOIN {document} AS document ON ({document_key}) = ({wanted_key})
