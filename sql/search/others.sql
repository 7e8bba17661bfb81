    -- Where the rarer terms are in rows that the filter, a condition or row-level security leaves out, the others have to
    -- bring documents, too.
    UNION ALL
    (SELECT
       {found_key}, found.generation,
       (SELECT sum({found_bm25}) FROM term)
     FROM question
     CROSS JOIN LATERAL (
       SELECT {document_key}, document.tsv, document.length, document.generation
       FROM {document} AS document {narrowed}
       WHERE question.others IS NOT NULL AND document.tsv @@ question.others {unless_few}
         AND (SELECT count(*) < {k} + {skip} FROM brought)
       LIMIT 3000
     ) AS found)
