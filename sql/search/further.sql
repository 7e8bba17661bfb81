-- Where many chunks of few documents are the nearest, or those of rows that are gone, the others
-- come from a second scan.
further AS MATERIALIZED (
  SELECT {chunk_key}, chunk.ordinal, {embedding} <=> {vector_with_settings} AS distance,
    document.generation
  FROM {chunk} AS chunk {narrowed}
  JOIN {document} AS document ON ({document_key}) = ({chunk_key}) AND document.length >= 0
  WHERE {has_vector} {unless_few}
    AND (SELECT count(*) >= {chunks} FROM nearest)
    AND (SELECT count(DISTINCT ({near_key})) < {k} + {skip} FROM near)
    AND ({chunk_key}) NOT IN (SELECT {nearest_key} FROM nearest)
    {timely} {conditional}
  ORDER BY {embedding} <=> {vector_with_settings}
  LIMIT 10 * {chunks}
),
