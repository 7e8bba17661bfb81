SELECT document.title
FROM document_search(%(question)s, k => %(k)s, vector => %(vector)s::vector, mode => %(mode)s) AS hit
JOIN document USING (id)
ORDER BY hit.score DESC, hit.id
