-- The queries that were logged last, each once, but for those that no search answers; with the documents that were chosen, the newest first.
-- A key is a JSON value, one of several columns an array of them.
SELECT asked.query, chosen.document, chosen.value
FROM (
  SELECT query, max(asked_at) AS asked_at
  FROM pgsearch.search_log
  WHERE search_index_id = %(id)s AND query ~ '[^[:space:]]' AND length(query) <= 8192
  GROUP BY query
  ORDER BY max(asked_at) DESC
  LIMIT %(limit)s
) AS asked
LEFT JOIN LATERAL (
  SELECT outcome.document, sum(outcome.value) AS value
  FROM pgsearch.search_log AS logged
  JOIN pgsearch.search_outcome AS outcome ON outcome.search_id = logged.id
  WHERE logged.search_index_id = %(id)s AND logged.query = asked.query
    AND outcome.document IS NOT NULL
  GROUP BY outcome.document
) AS chosen ON true
ORDER BY asked.asked_at DESC, chosen.value DESC, chosen.document
