-- The chunks that keys have already: their hashes, and which embeddings they lack.
SELECT wanted.ordinal, chunk.ordinal, chunk.content_hash, ARRAY[{missing}]::boolean[]
FROM unnest({key_arrays}) WITH ORDINALITY AS wanted ({key}, ordinal)
JOIN {chunk} AS chunk ON ({chunk_key}) = ({wanted_key})
