-- Which vectors are far from those that the model makes of their content.
SELECT wanted.pgsearch_place
FROM unnest({key_arrays}, %(ordinals)s::integer[], %(hashes)s::bytea[], %(vectors)s::vector[])
  WITH ORDINALITY AS wanted ({key}, ordinal, content_hash, pgsearch_vector, pgsearch_place)
JOIN {chunk} AS chunk ON ({chunk_key}) = ({wanted_key}) AND chunk.ordinal = wanted.ordinal
WHERE chunk.content_hash = wanted.content_hash
  -- Of a vector without a direction the distance is NaN, which is more than any number.
  AND chunk.{column} <=> wanted.pgsearch_vector > %(distance)s
