-- The passages of the best documents, each with the score that its document would have if this were
-- its nearest. As many documents as passages are wanted are enough: of each the nearest passage comes
-- before all passages of those that come after it.
WITH {given}
{best}
-- Read only where there is no similarity.
asked AS MATERIALIZED (
  SELECT pgsearch.lexeme_query(word.lexeme) AS term
  FROM unnest(pgsearch.query_lexemes({configuration}, {query})) AS word (lexeme)
),
placed AS (
  SELECT
    {best_key},
    coalesce({passage_score}, best.score) AS score,
    best.keyword_score, best.keyword_rank, own.similarity, best.vector_rank,
    chunk.content AS passage,
    coalesce(chunk.generation <> document.generation, false) AS stale,
    best.encoder,
    chunk.ordinal,
    row_number() OVER (
      PARTITION BY {best_key}
      ORDER BY own.similarity DESC NULLS LAST, held.terms DESC, chunk.ordinal
    ) AS passage_rank,
    best.score AS document_score
  FROM {best_documents} AS best
  JOIN {document} AS document ON ({document_key}) = ({best_key})
  -- What has no vector yet cannot be compared with what has one.
  LEFT JOIN {chunk} AS chunk ON ({chunk_key}) = ({best_key}) {timely_document}
    AND (best.similarity IS NULL OR {has_embedding})
  CROSS JOIN LATERAL (
    SELECT CASE WHEN best.similarity IS NOT NULL THEN {own_similarity} END AS similarity OFFSET 0
  ) AS own
  CROSS JOIN LATERAL (
    SELECT CASE WHEN best.similarity IS NULL THEN (
      SELECT count(*)
      FROM (SELECT to_tsvector({configuration}, chunk.content) AS tsv OFFSET 0) AS made
      JOIN asked ON made.tsv @@ asked.term
    ) END AS terms OFFSET 0
  ) AS held
)
SELECT
  {placed_key}, placed.score, placed.keyword_score, placed.keyword_rank, placed.similarity,
  placed.vector_rank, placed.passage, placed.stale, placed.encoder, placed.ordinal,
  placed.passage_rank::integer AS passage_rank, placed.document_score
FROM placed
WHERE {per_document} IS NULL OR placed.passage_rank <= {per_document}
ORDER BY placed.score DESC, {placed_key}, placed.passage_rank
LIMIT {k} OFFSET {skip}
