-- Embeddings that a migration wants to be active as soon as they are ready, which they are not yet.
SELECT coalesce(array_agg(id), '{}') FROM pgsearch.embedding
WHERE search_index_id = %(id)s AND activate_when_ready AND state IN ('filling', 'indexing')
