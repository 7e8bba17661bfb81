UPDATE pgsearch.embedding SET activate_when_ready = true
WHERE id = ANY(%(ids)s) AND state IN ('filling', 'indexing')
