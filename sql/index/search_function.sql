-- Answers a query; see the comments inside. Filters narrow both legs, not the result.
CREATE OR REPLACE FUNCTION {search}(
  query          text,
  k              integer DEFAULT 10,
  vector         vector  DEFAULT NULL,
  mode           text    DEFAULT 'hybrid',
  embedding      text    DEFAULT NULL,
  skip           integer DEFAULT 0,
  ef_search      integer DEFAULT NULL,
  fusion         text    DEFAULT 'exact',
  keyword_weight double precision DEFAULT NULL{language_parameter}{filter_parameters}
) RETURNS SETOF {hit}
LANGUAGE plpgsql STABLE
-- pgvector's operators are found as they are now, whatever the caller's search_path. Compiling the
-- statement anew for each call would take longer than running it.
SET search_path FROM CURRENT
SET jit = off
-- Where a word is so common that a limit cuts it off, the same rows come each time.
SET synchronize_seqscans = off AS $function$
#variable_conflict use_column  -- a key column may be called as a parameter or a variable
<<answer>>
DECLARE
  answering record;
  -- What made the query's vector: the caller, the database, or none, where keywords answer alone.
  encoder text := 'caller';
  configuration regconfig := {query_configuration};
  -- Without a quote or a minus sign there is none.
  condition tsquery := CASE WHEN query ~ '["-]' THEN pgsearch.query_condition(configuration, query) END;
  filters text := concat_ws(' AND '{filter_conditions});
  -- How many documents the vector leg brings and how many chunks they are taken from, how many
  -- documents keywords bring, how many the rarest terms may, and how many chunks a scan keeps.
  depth integer;
  chunks integer;
  keyword_depth integer;
  budget integer;
  candidates integer;
  settings text[];
  -- What keywords have brought and a scan of the HNSW index has found, in arrays, one for each column
  -- of the key. In a record they have the collations of these columns, in a variable the query's.
  brought record;
  scanned record;
  further record;
  is_last boolean := false;
  -- Parts of the statement. Without a filter there are none of most, and without phrases and words
  -- with a minus sign none of the last.
  few text := '';
  few_documents text := '';
  few_chunks text := '';
  narrowed text := '';
  unless_few text := '';
  conditional text := '';
  others text := '';
  stored text;
  -- What is scanned, and by which distance: where the graph is coarse, by what it holds.
  scanned_chunk text;
  coarse_scan text := $part${scan_coarse}$part$;
  unless_found text;
  scan_distance text;
BEGIN
  PERFORM pgsearch.check_search(
    query, k, mode, skip, ef_search, fusion, keyword_weight, vector IS NOT NULL);
  answering := pgsearch.answering({schema_literal}, {index_literal}, embedding,
    asked => CASE WHEN vector IS NULL AND mode <> 'keyword' THEN query END);
  IF vector IS NULL AND mode <> 'keyword' AND answering.has_encoder THEN
    vector := {embed}(query, answering.name);
    encoder := 'database';
    IF vector IS NULL THEN
      mode := 'keyword';  -- no word of it is known, nor a part of one
    END IF;
  END IF;
  PERFORM pgsearch.check_vector(
    vector_dims(vector), vector_norm(vector), mode, answering.name, answering.dimensions);
  vector := pgsearch.comparable(vector);
  -- Whom row-level security keeps from some rows searches among those that he may see. The policies
  -- of documents and chunks see to that anyway; but no index on what is made of the text may be used
  -- before they are asked, while the table's own policies may use any on what they compare.
  IF (SELECT c.relrowsecurity FROM pg_catalog.pg_class AS c WHERE c.oid = {document_name}::regclass)
     AND coalesce(row_security_active(coalesce(
       pgsearch.source_table({schema_literal}, {index_literal}), to_regclass({table_name}))), true) THEN
    filters := coalesce(nullif(filters, ''), 'true');
  END IF;
{hold_source}  IF condition IS NOT NULL THEN
    conditional := $part${conditional}$part$;
  END IF;
  LOOP
    IF vector IS NULL OR answering.id IS NULL THEN
      mode := 'keyword';
    END IF;
    IF mode = 'keyword' THEN
      encoder := 'none';
    END IF;
    depth := CASE mode WHEN 'hybrid' THEN greatest({hybrid_depth}, 2 * (k + skip)) ELSE k + skip END;
    -- To read a passage takes its time, and where none is wanted but the nearest another scan may go on.
    chunks := depth + CASE WHEN mode = 'vector' AND filters = '' AND condition IS NULL
      THEN {spare_nearest} ELSE {spare_chunks} END;
    keyword_depth := CASE mode WHEN 'hybrid' THEN greatest({hybrid_keyword_depth}, k + skip) ELSE depth END;
    budget := CASE WHEN mode = 'hybrid' AND filters = '' AND condition IS NULL
      THEN {hybrid_budget} ELSE {budget} END;
    stored := 'chunk.' || quote_ident(answering.column_name);
    scanned_chunk := {chunk_name};
    scan_distance := stored || ' <=> $3';
    IF filters <> '' THEN
      chunks := greatest(chunks, {filtered_chunks});
    END IF;
    IF answering.coarse IS NOT NULL THEN
      scan_distance := pgsearch.graph_distance(stored, '$3', answering.coarse, answering.dimensions);
      -- All that a scan of bits keeps is ranked anew: the nearest are among them, but not the first.
      IF answering.coarse = 'bit' THEN
        chunks := greatest(
          chunks, coalesce(ef_search, pgsearch.usual_ef_search(answering.documents, chunks, false)));
      END IF;
      scanned_chunk := format(coarse_scan, stored, scan_distance, '');
    END IF;
    candidates := coalesce(
      ef_search, pgsearch.usual_ef_search(answering.documents, chunks, filters <> ''));
    IF filters <> '' THEN
      few := format($part${few}$part$, filters, pgsearch.few_rows(answering.documents, {few_rows}));
      few_documents := $part$
{few_documents}$part$;
      few_chunks := format($part$
{few_chunks}$part$, stored, conditional);
      narrowed := format($part${narrowed}$part$, filters);
      unless_few := $part${unless_few}$part$;
    END IF;
    IF filters <> '' OR condition IS NOT NULL THEN
      others := format($part$
{others}$part$, narrowed, unless_few);
    END IF;
    BEGIN
      -- To plan a statement would take a good part of the time that it runs. So where nothing narrows
      -- the search the scan alone is planned, and PL/pgSQL keeps the plans of the others.
      IF filters = '' AND condition IS NULL THEN
        IF mode <> 'vector' THEN
{kept_keywords};
        END IF;
        IF mode = 'keyword' THEN
          RETURN QUERY
{kept_keyword};
          RETURN;
        END IF;
        -- A scan that may go on for more than it keeps takes longer from the start.
        settings := pgsearch.begin_scan(
          candidates, CASE WHEN candidates < chunks THEN 'relaxed_order' ELSE 'off' END);
        IF mode = 'hybrid' THEN
          EXECUTE format($search$
{scan_hybrid}
$search$, stored, scanned_chunk, '')
          INTO scanned USING query, k, vector, chunks, brought.generations, {brought_keys};
        ELSE
          EXECUTE format($search$
{scan}
$search$, stored, scanned_chunk, '')
          INTO scanned USING query, k, vector, chunks;
        END IF;
        LOOP
          IF mode = 'hybrid' THEN
            RETURN QUERY
{kept_hybrid};
          ELSE
            RETURN QUERY
{kept_vector};
          END IF;
          EXIT WHEN FOUND OR is_last;
          -- Among the chunks of other documents.
          PERFORM pgsearch.begin_scan(candidates);
          unless_found := $part${unless_found}$part$;
          IF answering.coarse IS NOT NULL THEN
            scanned_chunk := format(coarse_scan, stored, scan_distance, unless_found);
          END IF;
          EXECUTE format($search$
{scan}
$search$, stored, scanned_chunk, unless_found)
          INTO further USING query, k, vector,
            CASE answering.coarse WHEN 'bit' THEN 10 * chunks
              ELSE greatest(chunks, 10 * (depth + {spare_chunks})) END, {scanned_keys};
{extended_keys}          scanned.ordinals := scanned.ordinals || further.ordinals;
          scanned.distances := scanned.distances || further.distances;
          is_last := true;
        END LOOP;
        PERFORM pgsearch.end_scan(settings);
        RETURN;
      END IF;
      -- Not for keywords: without a vector the library that knows the settings may not be there yet.
      IF mode <> 'keyword' THEN
        settings := pgsearch.begin_scan(candidates);
      END IF;
      RETURN QUERY EXECUTE format(
        CASE mode WHEN 'keyword' THEN $search$
{keyword_statement}
$search$ WHEN 'vector' THEN $search$
{vector_statement}
$search$ ELSE $search$
{hybrid_statement}
$search$ END,
        stored, few, few_documents, few_chunks, narrowed, unless_few, conditional,
        others, CASE fusion WHEN 'rrf' THEN $part${fusion_rrf}$part$ ELSE $part${fusion_exact}$part$ END,
        scan_distance)
      USING query, k, vector, skip, depth, answering.similarity_stddev, configuration, condition,
        chunks, coalesce(keyword_weight, CASE fusion WHEN 'rrf' THEN 1 ELSE 4 END), encoder,
        budget{filter_arguments};
      IF mode <> 'keyword' THEN
        PERFORM pgsearch.end_scan(settings);
      END IF;
      RETURN;
    EXCEPTION WHEN undefined_column THEN
      -- An old snapshot still has an embedding in the registry that was dropped since, and its
      -- column is gone for everyone: keywords answer, where they may. To look again would be no help
      -- in this snapshot.
      IF mode = 'vector' AND strpos(SQLERRM, answering.column_name) > 0 THEN
        RAISE EXCEPTION 'pgsearch: embedding % of search index % was dropped',
            quote_literal(answering.name), quote_ident({index_literal})
          USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Ask in a new transaction, which knows of the embeddings that are left.';
      ELSIF mode <> 'hybrid' THEN
        RAISE;
      END IF;
      vector := NULL;
    END;
  END LOOP;
END
$function$;

COMMENT ON FUNCTION {search}({signature}) IS
  'Search index {index_comment}: keyword and vector search in one. Made by pgsearch, do not edit';
