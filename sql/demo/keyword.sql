SELECT title FROM document_search('shuffle a list in place', k => 3, mode => 'keyword') AS hit
JOIN document USING (id) ORDER BY hit.score DESC;
