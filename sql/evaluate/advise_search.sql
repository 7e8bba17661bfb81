-- The nearest vectors as a search finds them: candidates of the HNSW index, in the order of the
-- column's own vectors.
SELECT near.n
FROM (
  SELECT n, embedding FROM pg_temp.pgsearch_sample
  ORDER BY {distance} LIMIT {candidates}
) AS near
ORDER BY near.embedding <=> {asked}, near.n LIMIT {k}
