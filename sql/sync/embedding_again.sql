-- Chunks were written without its vector meanwhile, by a worker that did not know of it yet.
UPDATE pgsearch.embedding SET fill_key = NULL, filled_at = NULL
WHERE id = %(id)s AND state = 'filling' AND filled_at IS NOT NULL
