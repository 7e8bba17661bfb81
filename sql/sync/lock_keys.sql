-- The workers' locks until the transaction ends: first that of the search index, which all of them
-- share, then those of keys, always in one order. Keys that are equal have one number, however they
-- are written; that the chunk table's keys are among them, though none is, gives them its
-- collations.
SELECT pg_advisory_xact_lock_shared(%(seed)s)
UNION ALL
SELECT pg_advisory_xact_lock(number)
FROM (
  SELECT DISTINCT {number} AS number
  FROM (
    SELECT {key} FROM {chunk} WHERE false
    UNION ALL
    SELECT {key} FROM unnest({key_arrays}) AS wanted ({key})
  ) AS wanted
  ORDER BY number
) AS numbered
