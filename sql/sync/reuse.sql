-- Vectors that equal content has elsewhere in the search index, or of the same model in another column;
-- those of a halfvec widened.
SELECT wanted.content_hash, equal.vector
FROM unnest(%(hashes)b::bytea[]) AS wanted (content_hash)
CROSS JOIN LATERAL (
  SELECT {vector} AS vector FROM {chunk} AS chunk
  WHERE chunk.content_hash = wanted.content_hash AND {has_vector}
  LIMIT 1
) AS equal
