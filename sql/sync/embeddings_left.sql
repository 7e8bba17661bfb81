-- How many of these embeddings the search index still has; one that was dropped and added again
-- under the same name is another.
SELECT count(*) FROM pgsearch.embedding WHERE id = ANY(%(embeddings)s)
