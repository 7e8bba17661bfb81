-- Gives chunks whose content is unchanged vectors that they lack: a HOT update, and nothing of a row
-- is sent that it has.
UPDATE {chunk} AS chunk SET generation = put.generation{column_updates}
FROM unnest(
  {key_arrays}, %(ordinals)b::integer[], %(generations)b::bigint[]{vector_arrays}
) AS put ({key}, ordinal, generation{vector_names})
WHERE ({chunk_key}) = ({put_key}) AND chunk.ordinal = put.ordinal
