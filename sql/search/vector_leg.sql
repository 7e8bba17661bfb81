-- The HNSW index is used only while this ORDER BY is the bare operator, ascending, with LIMIT and
-- without a tie-break, by what its graph holds. The scan is iterative, so that a filter cannot leave
-- it empty-handed.
nearest AS MATERIALIZED (
{few_chunks}
  (SELECT {chunk_key}, chunk.ordinal, {distance_with_settings} AS distance
   FROM {chunk} AS chunk {narrowed}
   WHERE {has_vector} {unless_few}
     {timely} {conditional}
   ORDER BY {scan_distance}
   LIMIT {chunks})
),
-- Chunks of a row that was just deleted are still there; their document is not, or it has the length
-- of -1.
near AS MATERIALIZED (
  SELECT nearest.*, document.generation
  FROM nearest JOIN {document} AS document
    ON ({document_key}) = ({nearest_key}) AND document.length >= 0
),
-- Where many chunks of few documents are the nearest, or those of rows that are gone, the others
-- come from a second scan.
further AS MATERIALIZED (
  SELECT {chunk_key}, chunk.ordinal, {distance_with_settings} AS distance,
    document.generation
  FROM {chunk} AS chunk {narrowed}
  JOIN {document} AS document ON ({document_key}) = ({chunk_key}) AND document.length >= 0
  WHERE {has_vector} {unless_few}
    AND (SELECT count(*) >= {chunks} FROM nearest)
    AND (SELECT count(DISTINCT ({near_key})) < {k} + {skip} FROM near)
    AND ({chunk_key}) NOT IN (SELECT {nearest_key} FROM nearest)
    {timely} {conditional}
  ORDER BY {scan_distance}
  LIMIT 10 * {chunks}
),
vector_leg AS MATERIALIZED (
  SELECT
    {key}, generation, ordinal, 1 - distance AS similarity,
    row_number() OVER (ORDER BY distance, {key}) AS vector_rank
  FROM (
    SELECT DISTINCT ON ({key}) {key}, ordinal, distance, generation
    FROM (SELECT * FROM near UNION ALL SELECT * FROM further) AS found
    ORDER BY {key}, distance, ordinal
  ) AS closest
  ORDER BY distance, {key}
  LIMIT {depth}
)
