-- What keys have at this moment: the generations of their documents, NULL where there is none, and
-- of each chunk the hash and which embeddings it lacks.
SELECT
  wanted.ordinal, document.generation, chunk.ordinal, chunk.content_hash, ARRAY[{missing}]::boolean[]
FROM unnest({key_arrays}) WITH ORDINALITY AS wanted ({key}, ordinal)
LEFT JOIN {document} AS document ON ({document_key}) = ({wanted_key})
LEFT JOIN {chunk} AS chunk ON ({chunk_key}) = ({wanted_key})
