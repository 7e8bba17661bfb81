-- Queries whose answer follows from the rows: known items, the first sentence of a docstring, which
-- has to find the row it begins, and the demo's own questions.
CREATE TEMPORARY TABLE demo_judgement AS
SELECT sentence.text AS query, 1 AS grade, min(document.id) AS id
FROM document
CROSS JOIN LATERAL (
  -- Behind the signature; modules have none.
  SELECT substring(
    CASE WHEN kind = 'module' THEN body ELSE split_part(body, E'\n\n', 2) END from '^[^.\n]{{40,160}}'
  )
) AS sentence (text)
WHERE kind IN ('module', 'class', 'function', 'method') AND sentence.text IS NOT NULL
GROUP BY sentence.text
HAVING count(*) = 1
ORDER BY md5(sentence.text)
LIMIT {items}
