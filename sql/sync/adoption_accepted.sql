-- From here on vectors are adopted; the event counts them.
INSERT INTO pgsearch.event (search_index_id, embedding, kind, detail)
SELECT search_index_id, name, 'adopted', %(detail)s::jsonb || '{"vectors": 0}'
FROM pgsearch.embedding WHERE id = %(id)s
RETURNING id
