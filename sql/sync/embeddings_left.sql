-- How many of these embeddings workers still keep up to date; one that was dropped and added again
-- under the same name is another.
SELECT count(*) FROM pgsearch.embedding WHERE id = ANY(%(embeddings)s) AND state <> 'retired'
