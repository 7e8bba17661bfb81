-- How far the fill of an embedding is; no row while another worker is at it, or when it is done.
SELECT fill_key::text FROM pgsearch.embedding
WHERE id = %(id)s AND state = 'filling' AND filled_at IS NULL
FOR UPDATE SKIP LOCKED
