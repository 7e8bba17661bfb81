-- Answers a query; see the comments inside. Filters narrow both legs, not the result.
CREATE OR REPLACE FUNCTION {search}(
  query     text,
  k         integer DEFAULT 10,
  vector    vector  DEFAULT NULL,
  mode      text    DEFAULT 'hybrid',
  embedding text    DEFAULT NULL{language_parameter}{filter_parameters}
) RETURNS SETOF {hit}
LANGUAGE plpgsql STABLE
-- pgvector's operators are found as they are now, whatever the caller's search_path. Compiling the
-- statement anew for each call would take longer than running it.
SET search_path FROM CURRENT
SET jit = off AS $function$
DECLARE
  answering pgsearch.embedding;
  configuration regconfig := {query_configuration};
  filters text := concat_ws(' AND '{filter_conditions});
  -- How many documents each leg brings.
  depth integer := greatest(100, 2 * k);
BEGIN
  PERFORM pgsearch.check_request(query, k, mode);
  answering := pgsearch.answering_embedding({schema_literal}, {index_literal}, embedding);
  IF mode = 'vector' AND (vector IS NULL OR answering.id IS NULL) THEN
    RAISE EXCEPTION 'pgsearch: mode vector needs %', CASE WHEN vector IS NULL
        THEN 'the query''s vector' ELSE 'an active embedding' END
      USING ERRCODE = 'invalid_parameter_value', HINT = CASE WHEN vector IS NULL
        THEN 'Pass vector => ''[...]'' made by the model of the embedding.'
        ELSE 'Run `pgsearch sync`; until an embedding is active, keywords answer.' END;
  END IF;
  IF vector_dims(vector) <> answering.dimensions THEN
    RAISE EXCEPTION 'pgsearch: the query''s vector has % dimensions, embedding % has %',
        vector_dims(vector), quote_literal(answering.name), answering.dimensions
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Make it with the model of that embedding.';
  END IF;
  IF vector_norm(vector) = 0 THEN
    RAISE EXCEPTION 'pgsearch: the query''s vector is all zeros, which is similar to nothing'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Make it with the model of the embedding.';
  END IF;
{hold_source}  LOOP
    BEGIN
      RETURN QUERY EXECUTE format($search$
{statement}
$search$,
        -- Without an embedding the vector leg is there, and empty.
        coalesce('chunk.' || quote_ident(answering.column_name), 'NULL::vector'),
        CASE WHEN filters <> '' THEN {filter_begin} || filters || {filter_end} ELSE '' END
      )
      USING query, k, vector, mode, depth, answering.similarity_stddev, configuration{filter_arguments};
      RETURN;
    EXCEPTION WHEN undefined_column THEN
      -- An old snapshot still has an embedding in the registry that was dropped since, and its
      -- column is gone for everyone: keywords answer.
      IF answering.id IS NULL OR mode = 'vector' THEN
        RAISE;
      END IF;
      answering := NULL;
    END;
  END LOOP;
END
$function$;

COMMENT ON FUNCTION {search}({signature}) IS
  'Search index {index_comment}: keyword and vector search in one. Made by pgsearch, do not edit';
