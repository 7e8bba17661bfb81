SELECT
  {nearest_arrays}, array_agg(nearest.distance), array_agg(nearest.content),
  array_agg(nearest.generation)
FROM (
  SELECT {chunk_key}, chunk.content, chunk.generation, {distance} AS distance
  FROM {scanned_chunk} AS chunk
  WHERE {has_vector}
    {timely}
  ORDER BY {distance}
  LIMIT {chunks}
) AS nearest
