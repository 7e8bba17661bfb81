keyword_leg AS MATERIALIZED (
  SELECT
    {key}, generation, score AS keyword_score,
    row_number() OVER (ORDER BY score DESC, {key}) AS keyword_rank
  FROM (
    WITH brought AS MATERIALIZED (
      SELECT
        {found_key}, found.generation,
        (SELECT sum({found_bm25}) FROM term) AS score
      FROM question
      -- The limits bound the work when even the rarest term is common.
      CROSS JOIN LATERAL (
{few_documents}
        (SELECT {document_key}, document.tsv, document.length, document.generation
         FROM {document} AS document {narrowed}
         WHERE document.tsv @@ question.rarest {unless_few}
         LIMIT 10000)
        UNION ALL
        (SELECT {document_key}, document.tsv, document.length, document.generation
         FROM {document} AS document {narrowed}
         WHERE question.next_rarest IS NOT NULL AND document.tsv @@ question.next_rarest {unless_few}
         LIMIT 3000)
        UNION ALL
        (SELECT {document_key}, document.tsv, document.length, document.generation
         FROM {document} AS document {narrowed}
         WHERE question.alone IS NOT NULL AND document.tsv @@ question.alone {unless_few}
         LIMIT 2000)
      ) AS found
      ORDER BY score DESC, {found_key}
      LIMIT {keyword_depth}
    )
    SELECT * FROM brought
{others}
    ORDER BY score DESC, {key}
    LIMIT {keyword_depth}
  ) AS ranked
)
