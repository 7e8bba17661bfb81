-- Writes chunks that are not there: those that are, and have other content, have been removed before.
INSERT INTO {chunk} ({key}, ordinal, content, content_hash, generation{columns})
SELECT {put_key}, put.ordinal, put.content, put.content_hash, put.generation{put_columns}
FROM unnest(
  {key_arrays}, %(ordinals)b::integer[], %(contents)b::text[], %(hashes)b::bytea[],
  %(generations)b::bigint[]{vector_arrays}
) AS put ({key}, ordinal, content, content_hash, generation{vector_names})
