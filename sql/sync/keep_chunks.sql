-- Chunks whose content is unchanged only move to the new generation: a HOT update.
UPDATE {chunk} AS chunk SET generation = kept.generation
FROM unnest({key_arrays}, %(generations)b::bigint[], %(ordinals)b::integer[])
  AS kept ({key}, generation, ordinal)
WHERE ({chunk_key}) = ({kept_key}) AND chunk.ordinal = kept.ordinal
  AND chunk.generation <> kept.generation
