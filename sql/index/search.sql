-- One query, answered from both legs in one statement.
--
-- The keyword leg ranks by BM25 the documents that hold the query's rarest terms; the vector leg
-- takes the nearest chunks from the HNSW index. What either leg finds is then scored exactly in
-- both, so that a document is never judged only by the leg that happened to find it.
WITH term AS MATERIALIZED (
  SELECT term, idf, tier, mean_length FROM {terms}({query}, {depth}{terms_configuration})
),
question AS MATERIALIZED (
  SELECT
    (string_agg(term::text, ' | ') FILTER (WHERE tier = 1))::tsquery AS rarest,
    (string_agg(term::text, ' | ') FILTER (WHERE tier = 2))::tsquery AS next_rarest,
    -- Quoted phrases and words with a minus sign hold for every result, in both legs.
    pgsearch.query_condition({configuration}, {query}) AS condition,
    -- What a document that is full of every term would score.
    nullif(sum(idf), 0) AS bound,
    nullif(max(mean_length), 0) AS mean_length
  FROM term
),
keyword_leg AS MATERIALIZED (
  SELECT {key}, row_number() OVER (ORDER BY ranked.score DESC, {key}) AS keyword_rank
  FROM (
    SELECT
      {found_key},
      (SELECT sum(pgsearch.bm25_term(
         found.tsv, term.term, term.idf, found.length / question.mean_length)) FROM term) AS score
    FROM question
    -- The limits bound the work when even the rarest term is common.
    CROSS JOIN LATERAL (
      (SELECT {key}, document.tsv, document.length
       FROM {document} AS document
       {filter}
       WHERE {mode} <> 'vector'
         AND document.tsv @@ question.rarest
         AND (question.condition IS NULL OR document.tsv @@ question.condition)
       LIMIT 20000)
      UNION ALL
      (SELECT {key}, document.tsv, document.length
       FROM {document} AS document
       {filter}
       WHERE {mode} <> 'vector'
         AND document.tsv @@ question.next_rarest AND NOT document.tsv @@ question.rarest
         AND (question.condition IS NULL OR document.tsv @@ question.condition)
       LIMIT 3000)
    ) AS found
    ORDER BY score DESC, {found_key}
    LIMIT {depth}
  ) AS ranked
),
-- The HNSW index is used only while this ORDER BY is the bare operator, ascending, with LIMIT and
-- without a tie-break. The scan is iterative, so that a filter cannot leave it empty-handed; its
-- settings are made in the subquery that hands over the vector, which runs before the scan starts.
nearest AS MATERIALIZED (
  SELECT {key}, {embedding} <=> (SELECT {vector_with_settings}) AS distance
  FROM {chunk} AS chunk
  {filter}
  WHERE {mode} <> 'keyword' AND {has_vector}
    {timely}
    -- Asked for each chunk that the scan comes to, and no further: a minus sign meets nearly all.
    AND ((SELECT condition FROM question) IS NULL OR (
      SELECT document.tsv @@ (SELECT condition FROM question)
      FROM {document} AS document WHERE ({document_key}) = ({chunk_key})
    ))
  ORDER BY {embedding} <=> (SELECT {vector_with_settings})
  LIMIT {chunks}
),
vector_leg AS MATERIALIZED (
  SELECT {key}, row_number() OVER (ORDER BY min(distance), {key}) AS vector_rank
  FROM nearest
  GROUP BY {key}
  ORDER BY min(distance), {key}
  LIMIT {depth}
),
candidate AS MATERIALIZED (
  SELECT {key}, keyword_leg.keyword_rank, vector_leg.vector_rank
  FROM keyword_leg FULL JOIN vector_leg USING ({key})
),
scored AS MATERIALIZED (
  SELECT
    {candidate_key}, candidate.keyword_rank, candidate.vector_rank, document.generation,
    (SELECT sum(pgsearch.bm25_term(
       document.tsv, term.term, term.idf, document.length / question.mean_length))
     FROM term) AS keyword_score,
    question.bound, closest.similarity, closest.ordinal
  FROM candidate
  -- Chunks of a row that was just deleted are still there; their document is not, or has length -1.
  JOIN {document} AS document ON ({document_key}) = ({candidate_key}) AND document.length >= 0
  CROSS JOIN question
  LEFT JOIN LATERAL (
    SELECT chunk.ordinal, 1 - ({embedding} <=> {vector}) AS similarity
    FROM {chunk} AS chunk
    WHERE ({chunk_key}) = ({candidate_key}) AND {mode} <> 'keyword' AND {has_vector} {timely_closest}
    -- `+ 0` keeps the HNSW index out: this is a handful of rows by primary key.
    ORDER BY ({embedding} <=> {vector}) + 0
    LIMIT 1
  ) AS closest ON true
),
fused AS (
  SELECT
    scored.*,
    CASE {mode}
      WHEN 'keyword' THEN keyword_score
      WHEN 'vector' THEN similarity
      -- Both on one scale: similarity in units of its own spread, BM25 as a share of its bound.
      -- A document that has no vector yet counts as the least similar of the candidates.
      ELSE coalesce(coalesce(similarity, min(similarity) OVER ()) / {similarity_stddev}, 0)
           + 4 * coalesce(keyword_score / bound, 0)
    END AS score
  FROM scored
),
best AS (
  SELECT * FROM fused ORDER BY score DESC NULLS LAST, {key} LIMIT {k}
)
SELECT
  {best_key},
  best.score,
  best.keyword_score,
  best.keyword_rank::integer AS keyword_rank,
  best.similarity,
  best.vector_rank::integer AS vector_rank,
  chunk.content AS passage,
  coalesce(chunk.generation <> best.generation, false) AS stale
FROM best
LEFT JOIN {chunk} AS chunk
  ON ({chunk_key}) = ({best_key}) AND chunk.ordinal = coalesce(best.ordinal, 0) {timely_passage}
ORDER BY best.score DESC NULLS LAST, {best_key}
