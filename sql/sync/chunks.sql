-- The chunks that claimed keys have already: their hashes, and which embeddings they lack.
SELECT {chunk_key}, chunk.ordinal, chunk.content_hash, ARRAY[{missing}]::boolean[]
FROM unnest({key_arrays}) AS wanted ({key})
JOIN {chunk} AS chunk ON ({chunk_key}) = ({wanted_key})
ORDER BY {chunk_key}, chunk.ordinal
