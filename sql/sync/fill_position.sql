-- How far the fill of a search index is; no row while another worker is at it, or a migration.
SELECT fill_key::text FROM pgsearch.search_index
WHERE id = %(id)s AND filled_at IS NULL AND capturing
FOR UPDATE SKIP LOCKED
