-- Vectors that equal content has elsewhere in the search index.
SELECT DISTINCT ON (content_hash) content_hash, {column}
FROM {chunk}
WHERE content_hash = ANY(%(hashes)s) AND {column} IS NOT NULL
