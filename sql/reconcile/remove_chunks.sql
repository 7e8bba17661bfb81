-- Removes chunks that a worker would not touch: those that are not what their hash says, those that
-- are there twice, those below zero.
DELETE FROM {chunk} AS chunk
USING unnest({key_arrays}, %(ordinals)s::integer[], %(generations)s::bigint[])
  AS gone ({key}, ordinal, generation)
WHERE ({chunk_key}) = ({gone_key})
  AND chunk.ordinal = gone.ordinal AND chunk.generation = gone.generation
