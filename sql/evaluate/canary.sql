-- What searches of each embedding have come to since a time. A search counts once, however much came
-- of it; its rank is that of the best document that was chosen.
SELECT
  logged.embedding,
  count(*) AS searches,
  count(DISTINCT logged.query) AS queries,
  count(*) FILTER (WHERE logged.documents = '[]') AS without_results,
  count(*) FILTER (WHERE came.outcomes > 0) AS with_outcome,
  coalesce(sum(came.value), 0) AS value,
  avg(coalesce(1.0 / came.rank, 0))::double precision AS reciprocal_rank,
  percentile_cont(0.5) WITHIN GROUP (ORDER BY logged.took_ms) AS p50_ms,
  percentile_cont(0.95) WITHIN GROUP (ORDER BY logged.took_ms) AS p95_ms
FROM pgsearch.search_log AS logged
CROSS JOIN LATERAL (
  SELECT
    count(*) AS outcomes,
    sum(outcome.value) AS value,
    -- A document of several passages may have been shown more than once, and a key that is a number
    -- may have been written as a text.
    min((SELECT min(shown.rank)
         FROM jsonb_array_elements(logged.documents) WITH ORDINALITY AS shown (document, rank)
         WHERE shown.document = outcome.document
            OR shown.document #>> '{}' = outcome.document #>> '{}')) FILTER (WHERE outcome.value > 0) AS rank
  FROM pgsearch.search_outcome AS outcome
  WHERE outcome.search_id = logged.id
) AS came
WHERE logged.search_index_id = %(id)s
  AND logged.asked_at >= %(since)s
GROUP BY logged.embedding
ORDER BY logged.embedding
