      (SELECT {document_key}, document.tsv, document.length, document.generation
       -- `IS TRUE` keeps the GIN index out, which might bring nearly all documents.
       FROM few JOIN {document} AS document USING ({key})
       WHERE (SELECT are_few FROM filtered) AND (document.tsv @@ question.any_term) IS TRUE)
      UNION ALL
