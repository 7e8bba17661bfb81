-- The chunks of some keys: whether each still is what its hash says, and the state of its vectors.
SELECT wanted.ordinal, chunk.ordinal, chunk.generation, chunk.content_hash,
  chunk.content_hash = sha256(convert_to(chunk.content, 'UTF8')), ARRAY[{states}]::text[]
FROM unnest({key_arrays}) WITH ORDINALITY AS wanted ({key}, ordinal)
JOIN {chunk} AS chunk ON ({chunk_key}) = ({wanted_key})
