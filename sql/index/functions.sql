-- Writes a document and appends to the queue in the transaction of the application's change. It
-- never waits for a worker and never touches a row that a worker has written.
CREATE FUNCTION {capture}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column  -- a key column may be called "new" or "found"
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    TRUNCATE {document};
    INSERT INTO {queue} DEFAULT VALUES;
    RETURN NULL;
  END IF;
  IF TG_OP = 'DELETE' THEN
    DELETE FROM {document} WHERE ({key}) = ({old_key});
    INSERT INTO {queue} ({key}) VALUES ({old_key});
    -- Drawn for nobody: the number of generations is the number of changes.
    PERFORM nextval({generation_literal}::regclass);
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' AND ({old_key}) IS DISTINCT FROM ({new_key}) THEN
    -- The same statement may have given the old key to another row, as when two rows swap keys.
    DELETE FROM {document} WHERE ({key}) = ({old_key})
      AND NOT EXISTS (SELECT FROM {table} AS source WHERE ({source_key}) = ({old_key}));
    INSERT INTO {queue} ({key}) VALUES ({old_key});
  END IF;
  INSERT INTO {document} ({key}, tsv, length, truncated, generation)
  SELECT {new_key}, made.tsv, pgsearch.token_count(made.tsv), made.truncated,
         nextval({generation_literal}::regclass)
  FROM pgsearch.document_tsvector({language}::regconfig, ARRAY[{new_texts}], {weights}) AS made
  ON CONFLICT ({key}) DO UPDATE SET
    tsv = excluded.tsv,
    length = excluded.length,
    truncated = excluded.truncated,
    generation = excluded.generation;
  INSERT INTO {queue} ({key}) VALUES ({new_key});
  RETURN NULL;
END
$function$;

-- Or anybody could write documents, from a table of their own with this trigger.
REVOKE ALL ON FUNCTION {capture}() FROM PUBLIC;

-- Writes the documents of the next key range of a table that was there before its search index.
-- Rows are locked as a foreign key would lock them, so that one that is being deleted cannot
-- leave a document behind. The range is read before and without a lock, for a row that had to be
-- waited for may come back with another key, and the next range must not begin there. `after` and `last` are keys as JSON objects; `last` is NULL at the end.
CREATE FUNCTION {fill}(after jsonb, batch integer, OUT last jsonb, OUT documents integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- An error where row-level security would hide rows, and not a part that looks like the whole.
SET row_security = off AS $function$
#variable_conflict use_column  -- the table may have columns called "after", "batch" or "last"
BEGIN
  WITH range AS MATERIALIZED (
    SELECT {source_key} FROM {table} AS source
    WHERE {fill_name}.after IS NULL OR ({source_key}) > ({after_key})
    ORDER BY {source_key} LIMIT {fill_name}.batch
  ),
  source AS MATERIALIZED (
    SELECT source.* FROM {table} AS source
    WHERE ({source_key}) IN (SELECT {key} FROM range)
    FOR KEY SHARE OF source
  ),
  written AS (
    INSERT INTO {document} ({key}, tsv, length, truncated, generation)
    SELECT {source_key}, made.tsv, pgsearch.token_count(made.tsv), made.truncated,
           nextval({generation_literal}::regclass)
    FROM source,
         pgsearch.document_tsvector({language}::regconfig, ARRAY[{source_texts}], {weights}) AS made
    ON CONFLICT ({key}) DO NOTHING
    RETURNING {key}
  ),
  queued AS (
    INSERT INTO {queue} ({key}) SELECT {key} FROM written
  )
  SELECT
    (SELECT jsonb_build_object({source_key_pairs})
     FROM range AS source ORDER BY {source_key_descending} LIMIT 1),
    (SELECT count(*) FROM written)
  INTO last, documents;
END
$function$;

REVOKE ALL ON FUNCTION {fill}(jsonb, integer) FROM PUBLIC;

-- Takes keyword statistics anew: document count, mean length, and the common lexemes with their
-- document frequencies from the planner's statistics of the tsvector.
CREATE FUNCTION {refresh}() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  documents bigint;
  mean double precision;
  drawn bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended({refresh_literal}, 0)) THEN
    RETURN;  -- another session is at it
  END IF;
  SELECT last_value INTO drawn FROM {generation};
  ANALYZE {document};
  SELECT count(*), avg(length) INTO documents, mean FROM {document};
  WITH common AS MATERIALIZED (
    -- The frequencies end with their own bounds, which unnest pairs with NULL.
    SELECT entry.lexeme, greatest(round(entry.frequency * documents), 1)::bigint AS document_count
    FROM pg_stats,
         unnest(most_common_elems::text::text[], most_common_elem_freqs) AS entry (lexeme, frequency)
    WHERE schemaname = {schema_literal} AND tablename = {document_literal} AND attname = 'tsv'
      AND entry.lexeme IS NOT NULL
  ),
  gone AS (
    DELETE FROM {lexeme} AS old WHERE NOT EXISTS (SELECT FROM common WHERE common.lexeme = old.lexeme)
  )
  INSERT INTO {lexeme} AS old (lexeme, document_count) SELECT lexeme, document_count FROM common
  ON CONFLICT (lexeme) DO UPDATE SET document_count = excluded.document_count
  WHERE old.document_count <> excluded.document_count;
  UPDATE pgsearch.search_index
  SET document_count = documents, mean_length = mean,
      statistics_generation = drawn, statistics_at = clock_timestamp()
  WHERE schema_name = {schema_literal} AND name = {index_literal};
END
$function$;

REVOKE ALL ON FUNCTION {refresh}() FROM PUBLIC;

-- The terms of a query with their inverse document frequency, as BM25 wants them. Common lexemes
-- are looked up; what is not among them is rare, so counting it exactly is cheap. It runs as its
-- owner: a caller under row-level security weighs terms by the whole table, as everyone does.
--
-- Every term scores, but not every term brings documents to score: tier 1 holds the rarest terms,
-- up to a budget of documents; tier 2 the next one, where those may bring fewer than are wanted.
CREATE FUNCTION {terms}(query text, wanted integer DEFAULT 100)
RETURNS TABLE (
  term tsquery, document_frequency bigint, idf double precision,
  tier integer, mean_length double precision
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  documents bigint;
  mean double precision;
  budget bigint;
BEGIN
  SELECT i.document_count, i.mean_length INTO documents, mean
  FROM pgsearch.search_index AS i
  WHERE i.schema_name = {schema_literal} AND i.name = {index_literal};
  -- Statistics that were never taken, or of empty documents only, say nothing.
  IF coalesce(mean, 0) = 0 THEN
    SELECT count(*), avg(d.length) INTO documents, mean FROM {document} AS d;
  END IF;
  budget := least(greatest(0.2 * documents, 300), 3000);
  RETURN QUERY
  WITH counted AS MATERIALIZED (
    SELECT
      pgsearch.lexeme_query(asked.lexeme) AS term,
      coalesce(
        (SELECT known.document_count FROM {lexeme} AS known WHERE known.lexeme = asked.lexeme),
        (SELECT count(*) FROM (
          SELECT FROM {document} AS d WHERE d.tsv @@ pgsearch.lexeme_query(asked.lexeme) LIMIT 10000
        ) AS few)
      ) AS frequency
    FROM unnest(pgsearch.query_lexemes({language}::regconfig, query)) AS asked (lexeme)
  ),
  ordered AS (
    SELECT
      c.term, c.frequency,
      sum(c.frequency) OVER (ORDER BY c.frequency, c.term::text ROWS UNBOUNDED PRECEDING) AS total
    FROM counted AS c
  )
  SELECT
    o.term,
    o.frequency,
    ln(
      1 + (greatest(documents, o.frequency) - o.frequency + 0.5)::double precision
        / (o.frequency + 0.5)::double precision
    ),
    CASE
      WHEN o.frequency = 0 THEN NULL
      WHEN o.total <= budget OR o.total = o.frequency THEN 1
      WHEN o.total - o.frequency < wanted THEN 2
    END,
    mean
  FROM ordered AS o;
END
$function$;

-- It tells how many documents hold a word, whoever may read them: so not everyone may ask it.
REVOKE ALL ON FUNCTION {terms}(text, integer) FROM PUBLIC;

-- Answers a query; see the comments inside. Filters narrow both legs, not the result.
CREATE FUNCTION {search}(
  query     text,
  k         integer DEFAULT 10,
  vector    vector  DEFAULT NULL,
  mode      text    DEFAULT 'hybrid',
  embedding text    DEFAULT NULL{filter_parameters}
) RETURNS SETOF {hit}
LANGUAGE plpgsql STABLE
-- pgvector's operators are found as they are now, whatever the caller's search_path. Compiling the
-- statement anew for each call would take longer than running it.
SET search_path FROM CURRENT
SET jit = off AS $function$
DECLARE
  answering pgsearch.embedding;
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
  RETURN QUERY EXECUTE format($search$
{statement}
$search$,
    -- Without an embedding the vector leg is there, and empty.
    coalesce('chunk.' || quote_ident(answering.column_name), 'NULL::vector'),
    CASE WHEN filters <> '' THEN {filter_begin} || filters || {filter_end} ELSE '' END
  )
  USING query, k, vector, mode, depth, answering.similarity_stddev{filter_arguments};
END
$function$;

COMMENT ON FUNCTION {search} IS
  'Search index {index_comment}: keyword and vector search in one. Made by pgsearch, do not edit';
