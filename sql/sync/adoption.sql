-- Whether an embedding still adopts vectors, and the event that counts them if that was decided.
SELECT
  e.adopt_column IS NOT NULL,
  (SELECT max(v.id) FROM pgsearch.event AS v
   WHERE v.search_index_id = e.search_index_id AND v.embedding = e.name AND v.kind = 'adopted'
     AND v.at >= e.created_at)
FROM pgsearch.embedding AS e
WHERE e.id = %(id)s
