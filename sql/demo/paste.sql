SELECT * FROM document_search('read a file line by line', k => 5);

SELECT document.title, document.module, hit.score
FROM document_search('split a string at white space', k => 5, kind => 'method') AS hit
JOIN document USING (id)
ORDER BY hit.score DESC;

SELECT name, state, activated_at,
       (SELECT count(*) FROM document_search_chunk) AS passages,
       (SELECT count(*) FROM document_search_queue) AS changes_waiting
FROM pgsearch.embedding ORDER BY id;
