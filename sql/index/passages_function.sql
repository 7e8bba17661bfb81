-- Answers a query with passages: those of the documents that the search function finds.
CREATE OR REPLACE FUNCTION {passages}(
  query          text,
  k              integer DEFAULT 10,
  vector         vector  DEFAULT NULL,
  mode           text    DEFAULT 'hybrid',
  embedding      text    DEFAULT NULL,
  skip           integer DEFAULT 0,
  ef_search      integer DEFAULT NULL,
  fusion         text    DEFAULT 'exact',
  keyword_weight double precision DEFAULT NULL,
  per_document   integer DEFAULT NULL{language_parameter}{filter_parameters}
) RETURNS SETOF {passage_type}
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off AS $function$
<<answer>>
DECLARE
  answering record;
  best {hit}[];
  stored text := 'NULL::vector';
BEGIN
  PERFORM pgsearch.check_search(
    query, k, mode, skip, ef_search, fusion, keyword_weight, vector IS NOT NULL);
  IF per_document < 1 THEN
    RAISE EXCEPTION 'pgsearch: per_document is %, it must be 1 or more', per_document
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for no limit.';
  END IF;
  best := ARRAY(SELECT ROW(hit.*)::{hit} FROM {search}({search_arguments}) AS hit);
  answering := pgsearch.answering({schema_literal}, {index_literal}, embedding,
    asked => CASE WHEN vector IS NULL AND mode <> 'keyword' THEN query END);
  -- The vector that the search function has made for itself.
  IF vector IS NULL AND mode <> 'keyword' AND answering.has_encoder THEN
    vector := {embed}(query, answering.name);
  END IF;
  vector := pgsearch.comparable(vector);
  -- Where keywords have answered no vector is needed, and its column may be gone.
  IF EXISTS (SELECT FROM unnest(best) AS hit WHERE hit.similarity IS NOT NULL) THEN
    stored := 'chunk.' || quote_ident(answering.column_name);
  END IF;
  RETURN QUERY EXECUTE format($search$
{passages_statement}
$search$, stored, CASE WHEN mode = 'vector' THEN $part${score_vector}$part$
                       WHEN fusion = 'exact' THEN $part${score_exact}$part$
                       ELSE $part${score_rrf}$part$ END)
  USING query, k, vector, skip, per_document, best, answering.similarity_stddev,
    {passages_configuration};
END
$function$;

COMMENT ON FUNCTION {passages}({passages_signature}) IS
  'Search index {index_comment}: the best passages. Made by pgsearch, do not edit';
