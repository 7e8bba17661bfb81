SELECT scanned.*, brought.*
FROM (
  SELECT {nearest_arrays}, array_agg(nearest.ordinal), array_agg(nearest.distance)
  FROM (
    SELECT {chunk_key}, chunk.ordinal, {distance} AS distance
    FROM {scanned_chunk} AS chunk
    WHERE {has_vector}
      {timely}
    ORDER BY {distance}
    LIMIT {chunks}
  ) AS nearest
) AS scanned
-- How near the documents are that keywords have brought.
CROSS JOIN (
  SELECT
    array_agg(closest.ordinal ORDER BY candidate.place),
    array_agg(closest.distance ORDER BY candidate.place)
  FROM unnest({asked_arrays}) WITH ORDINALITY AS candidate ({key}, generation, place)
  LEFT JOIN LATERAL (
    SELECT chunk.ordinal, {distance} AS distance
    FROM {chunk} AS chunk
    WHERE ({chunk_key}) = ({candidate_key}) AND {has_vector} {timely_closest}
    -- `+ 0` keeps the HNSW index out: this is a handful of rows by primary key.
    ORDER BY ({distance}) + 0
    LIMIT 1
  ) AS closest ON true
) AS brought
