SELECT document.title
FROM document_search(%(question)s, k => 3) AS hit
JOIN document USING (id)
WHERE hit.encoder = 'database'
ORDER BY hit.score DESC, hit.id
