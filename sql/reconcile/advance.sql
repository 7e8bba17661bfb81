-- Notes how far a reconciliation is, unless another one is at the same search index.
UPDATE pgsearch.reconciliation
SET after_key = %(last)s::jsonb, compared = %(compared)s, found = %(found)s
WHERE search_index_id = %(id)s AND after_key IS NOT DISTINCT FROM %(after)s::jsonb
