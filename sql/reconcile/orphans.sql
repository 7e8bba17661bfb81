-- How many chunks there are of keys that have no row, and which of them no worker would remove.
SELECT wanted.ordinal, count(*),
  array_agg(ARRAY[chunk.ordinal, chunk.generation]) FILTER (WHERE chunk.ordinal < 0)
FROM unnest({key_arrays}) WITH ORDINALITY AS wanted ({key}, ordinal)
JOIN {chunk} AS chunk ON ({chunk_key}) = ({wanted_key})
GROUP BY wanted.ordinal
