-- Moves an embedding from one state to the next, unless another worker has moved it on meanwhile.
WITH changed AS (
  UPDATE pgsearch.embedding
  SET state = %(state)s, ready_at = CASE WHEN %(state)s = 'ready' THEN clock_timestamp() ELSE ready_at END
  WHERE id = %(id)s AND state = ANY(%(before)s)
  RETURNING search_index_id, name
)
INSERT INTO pgsearch.event (search_index_id, embedding, kind)
SELECT search_index_id, name, %(state)s FROM changed
RETURNING embedding
