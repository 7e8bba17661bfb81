-- Removes the documents of rows that are gone, unless they came back in the meantime. What the
-- application is at is passed over: to wait for it might mean that each waits for the other.
WITH found AS MATERIALIZED (
  SELECT {document_key}, gone.ordinal
  FROM unnest({key_arrays}, %(generations)b::bigint[])
    WITH ORDINALITY AS gone ({key}, generation, ordinal)
  JOIN {document} AS document
    ON ({document_key}) = ({gone_key}) AND document.generation = gone.generation
  FOR UPDATE OF document SKIP LOCKED
),
removed AS (
  DELETE FROM {document} AS document USING found WHERE ({document_key}) = ({found_key})
)
SELECT ordinal FROM found
