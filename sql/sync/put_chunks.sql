-- Writes chunks. What is there already has the same content, and keeps the vectors that it has
-- where no new one comes.
INSERT INTO {chunk} AS old ({key}, ordinal, content, content_hash, generation{columns})
SELECT {put_key}, put.ordinal, put.content, put.content_hash, put.generation{put_columns}
FROM unnest(
  {key_arrays}, %(ordinals)b::integer[], %(contents)b::text[], %(hashes)b::bytea[],
  %(generations)b::bigint[]{vector_arrays}
) AS put ({key}, ordinal, content, content_hash, generation{vector_names})
ON CONFLICT ({key}, ordinal) DO UPDATE SET generation = excluded.generation{column_updates}
