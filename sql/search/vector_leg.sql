-- The HNSW index is used only while this ORDER BY is the bare operator, ascending, with LIMIT and
-- without a tie-break. The scan is iterative, so that a filter cannot leave it empty-handed.
nearest AS MATERIALIZED (
{few_chunks}
  (SELECT {chunk_key}, chunk.ordinal, {embedding} <=> {vector_with_settings} AS distance
   FROM {chunk} AS chunk {narrowed}
   WHERE {has_vector} {unless_few}
     {timely} {conditional}
   ORDER BY {embedding} <=> {vector_with_settings}
   LIMIT {chunks})
),
-- Chunks of a row that was just deleted are still there; their document is not, or it has the length
-- of -1.
near AS MATERIALIZED (
  SELECT nearest.*, document.generation
  FROM nearest JOIN {document} AS document
    ON ({document_key}) = ({nearest_key}) AND document.length >= 0
),
{further}
vector_leg AS MATERIALIZED (
  SELECT
    {key}, generation, ordinal, 1 - distance AS similarity,
    row_number() OVER (ORDER BY distance, {key}) AS vector_rank
  FROM (
    SELECT DISTINCT ON ({key}) {key}, ordinal, distance, generation
    FROM {found_chunks}
    ORDER BY {key}, distance, ordinal
  ) AS closest
  ORDER BY distance, {key}
  LIMIT {depth}
)
