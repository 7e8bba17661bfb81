-- How far the first fill of an existing table is; NULL while another worker is at it.
SELECT fill_key::text FROM pgsearch.search_index
WHERE id = %(id)s AND filled_at IS NULL
FOR UPDATE SKIP LOCKED
