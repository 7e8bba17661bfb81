-- What keyword search finds each row by: the words of its own title, or, where a title has none
-- but stop words, the first line of its text.
SELECT
  count(*) AS rows,
  count(found.id) AS documents,
  count(*) FILTER (WHERE found.tsv @@ asked.title) AS by_title,
  count(*) FILTER (WHERE numnode(asked.title) = 0 AND found.tsv @@ asked.opening) AS by_text,
  coalesce(
    array_agg(document.title ORDER BY document.title) FILTER (WHERE numnode(asked.title) = 0), '{}'
  ) AS wordless
FROM document
LEFT JOIN document_search_document AS found USING (id)
CROSS JOIN LATERAL (
  SELECT plainto_tsquery('english', document.title),
         plainto_tsquery('english', split_part(document.body, E'\n', 1))
) AS asked (title, opening)
