-- Which ready embeddings of a search index lack an encoder, or have one that was built of another
-- corpus by now. One that another worker is building, or nobody wants, is not among them.
SELECT b.id
FROM pgsearch.embedding AS b
LEFT JOIN pgsearch.encoder AS e ON e.embedding_id = b.id
WHERE b.search_index_id = %(id)s AND b.state IN ('ready', 'active')
  AND coalesce(e.is_wanted, true) AND coalesce(e.leased_until < clock_timestamp(), true)
  AND (coalesce(e.version, 0) = 0 OR (SELECT last_value FROM {generation}) - e.generation
        > %(share)s * e.documents + %(at_least)s)
  AND (SELECT count(*) >= %(enough)s FROM (SELECT FROM {chunk} LIMIT %(enough)s) AS few)
ORDER BY b.state = 'active' DESC, b.id
