SELECT scanned.*, brought.*
FROM (
{scan}
) AS scanned
-- How near the documents are that keywords have brought.
CROSS JOIN (
  SELECT
    array_agg(closest.ordinal ORDER BY candidate.keyword_rank) AS brought_ordinals,
    array_agg(closest.distance ORDER BY candidate.keyword_rank) AS brought_distances
  FROM unnest({asked_arrays}) WITH ORDINALITY AS candidate ({key}, generation, keyword_rank)
  LEFT JOIN LATERAL (
    SELECT chunk.ordinal, {distance} AS distance
    FROM {chunk} AS chunk
    WHERE ({chunk_key}) = ({candidate_key}) AND {has_vector} {timely_closest}
    -- `+ 0` keeps the HNSW index out: this is a handful of rows by primary key.
    ORDER BY ({distance}) + 0
    LIMIT 1
  ) AS closest ON true
) AS brought
