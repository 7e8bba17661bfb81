SELECT
  {nearest_aggregates},
  array_agg(nearest.ordinal) AS ordinals, array_agg(nearest.distance) AS distances
FROM (
  SELECT {chunk_key}, chunk.ordinal, {distance} AS distance
  FROM {scanned_chunk} AS chunk
  WHERE {has_vector} {unless_found}
    {timely}
  ORDER BY {distance}
  LIMIT {chunks}
) AS nearest
