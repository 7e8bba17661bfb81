-- Goes on with a reconciliation, or begins one. NULL is returned for the key before the first.
INSERT INTO pgsearch.reconciliation AS old (search_index_id, vectors) VALUES (%(id)s, %(vectors)s)
ON CONFLICT (search_index_id) DO UPDATE SET vectors = old.vectors
RETURNING old.after_key, old.compared, old.found
