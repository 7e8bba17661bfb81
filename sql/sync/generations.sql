-- The generations that documents have now, to compare with those that were read.
SELECT {document_key}, document.generation
FROM unnest({key_arrays}) AS wanted ({key})
JOIN {document} AS document ON ({document_key}) = ({wanted_key})
