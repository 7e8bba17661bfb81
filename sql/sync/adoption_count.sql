UPDATE pgsearch.event
SET detail = detail || jsonb_build_object('vectors', (detail ->> 'vectors')::bigint + %(vectors)s)
WHERE id = %(event)s
