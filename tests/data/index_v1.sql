-- What version 1 made for a search index `memo_search` of a table `memo` with the key
-- (tenant_id, code): kept as it was, to see that it can be brought up to date.

-- Search index "memo_search": what is kept beside "public"."memo", which itself is not altered.

-- A language that the triggers could not find would make the application's writes fail.
DO $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_ts_config AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.cfgnamespace
    WHERE parse_ident('english') = ARRAY[n.nspname, c.cfgname]::text[]
       OR (n.nspname = 'pg_catalog' AND parse_ident('english') = ARRAY[c.cfgname]::text[])
  ) THEN
    RAISE EXCEPTION 'pgsearch: there is no text search configuration %', quote_literal('english')
      USING ERRCODE = 'undefined_object',
            HINT = 'psql lists them with \dF; write one of your own with its schema, as in public.mine.';
  END IF;
END
$$;

CREATE SEQUENCE "public"."memo_search_generation" AS bigint;

-- One row per source row, written by triggers in the application's own transaction.
CREATE TABLE "public"."memo_search_document" (
  "tenant_id" integer,
  "code" text,
  tsv        tsvector NOT NULL,
  length     integer  NOT NULL,
  truncated  boolean  NOT NULL,
  generation bigint   NOT NULL,
  PRIMARY KEY ("tenant_id", "code")
)
-- Up to 8 kB of tsvector stay in the row as they are: BM25 reads them once per term, and taking
-- them out of TOAST each time costs three times as much.
WITH (toast_tuple_target = 8160, autovacuum_analyze_scale_factor = 0.05);

ALTER TABLE "public"."memo_search_document" ALTER COLUMN tsv SET STORAGE EXTERNAL;

-- The planner's list of common lexemes is where document frequencies come from.
ALTER TABLE "public"."memo_search_document" ALTER COLUMN tsv SET STATISTICS 1000;

-- Without a pending list, which every search would have to scan.
CREATE INDEX "memo_search_document_tsv_idx" ON "public"."memo_search_document" USING gin (tsv) WITH (fastupdate = off);

-- The passages, written by workers only; `content` is exactly the text that was embedded.
CREATE TABLE "public"."memo_search_chunk" (
  "tenant_id" integer,
  "code" text,
  ordinal      integer NOT NULL,
  content      text    NOT NULL,
  content_hash bytea   NOT NULL,
  generation   bigint  NOT NULL,
  PRIMARY KEY ("tenant_id", "code", ordinal)
)
-- Vectors go out of the row and half of each page stays free, so that filling a second embedding
-- is a HOT update that does not re-enter the first one's HNSW graph.
WITH (fillfactor = 50, toast_tuple_target = 128);

CREATE INDEX "memo_search_chunk_hash_idx" ON "public"."memo_search_chunk" (content_hash);

-- One appended row per change. A row without a key says that the source table was truncated.
CREATE TABLE "public"."memo_search_queue" (
  queue_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  "tenant_id" integer,
  "code" text,
  enqueued_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  attempts     integer     NOT NULL DEFAULT 0,
  leased_until timestamptz,
  not_before   timestamptz,
  failed_at    timestamptz,
  last_error   text
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Only of rows on which a model failed: an application's change pays nothing for it.
CREATE INDEX "memo_search_queue_key_idx" ON "public"."memo_search_queue" ("tenant_id", "code") WHERE attempts > 0;

-- How many documents hold each common lexeme; refreshed from the planner's statistics.
CREATE TABLE "public"."memo_search_lexeme" (
  lexeme         text   PRIMARY KEY,
  document_count bigint NOT NULL
);

-- One result of a search.
CREATE TYPE "public"."memo_search_hit" AS (
  "tenant_id" integer,
  "code" text,
  score         double precision,
  keyword_score double precision,
  keyword_rank  integer,
  similarity    double precision,
  vector_rank   integer,
  passage       text,
  stale         boolean
);

INSERT INTO pgsearch.search_index (schema_name, name, table_name, definition)
VALUES ('public', 'memo_search', 'memo', '{"name": "memo_search", "schema": "public", "table": "memo", "key": [["tenant_id", "integer"], ["code", "text"]], "text": [["title", "A"], ["body", "B"]], "language": "english", "filters": [["tenant_id", "integer"], ["kind", "text"]], "chunking": {"max_tokens": 16, "overlap": 0, "heading": "title"}}'::jsonb);

-- Writes a document and appends to the queue in the transaction of the application's change. It
-- never waits for a worker and never touches a row that a worker has written.
CREATE FUNCTION "public"."memo_search_capture"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column  -- a key column may be called "new" or "found"
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    TRUNCATE "public"."memo_search_document";
    INSERT INTO "public"."memo_search_queue" DEFAULT VALUES;
    RETURN NULL;
  END IF;
  IF TG_OP = 'DELETE' THEN
    DELETE FROM "public"."memo_search_document" WHERE ("tenant_id", "code") = (OLD."tenant_id", OLD."code");
    INSERT INTO "public"."memo_search_queue" ("tenant_id", "code") VALUES (OLD."tenant_id", OLD."code");
    -- Drawn for nobody: the number of generations is the number of changes.
    PERFORM nextval('"public"."memo_search_generation"'::regclass);
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' AND (OLD."tenant_id", OLD."code") IS DISTINCT FROM (NEW."tenant_id", NEW."code") THEN
    -- The same statement may have given the old key to another row, as when two rows swap keys.
    DELETE FROM "public"."memo_search_document" WHERE ("tenant_id", "code") = (OLD."tenant_id", OLD."code")
      AND NOT EXISTS (SELECT FROM "public"."memo" AS source WHERE ("source"."tenant_id", "source"."code") = (OLD."tenant_id", OLD."code"));
    INSERT INTO "public"."memo_search_queue" ("tenant_id", "code") VALUES (OLD."tenant_id", OLD."code");
  END IF;
  INSERT INTO "public"."memo_search_document" ("tenant_id", "code", tsv, length, truncated, generation)
  SELECT NEW."tenant_id", NEW."code", made.tsv, pgsearch.token_count(made.tsv), made.truncated,
         nextval('"public"."memo_search_generation"'::regclass)
  FROM pgsearch.document_tsvector('english'::regconfig, ARRAY[NEW."title"::text, NEW."body"::text], '{A,B}'::"char"[]) AS made
  ON CONFLICT ("tenant_id", "code") DO UPDATE SET
    tsv = excluded.tsv,
    length = excluded.length,
    truncated = excluded.truncated,
    generation = excluded.generation;
  INSERT INTO "public"."memo_search_queue" ("tenant_id", "code") VALUES (NEW."tenant_id", NEW."code");
  RETURN NULL;
END
$function$;

-- Or anybody could write documents, from a table of their own with this trigger.
REVOKE ALL ON FUNCTION "public"."memo_search_capture"() FROM PUBLIC;

-- Writes the documents of the next key range of a table that was there before its search index.
-- Rows are locked as a foreign key would lock them, so that one that is being deleted cannot
-- leave a document behind. The range is read before and without a lock, for a row that had to be
-- waited for may come back with another key, and the next range must not begin there. `after` and `last` are keys as JSON objects; `last` is NULL at the end.
CREATE FUNCTION "public"."memo_search_fill"(after jsonb, batch integer, OUT last jsonb, OUT documents integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- An error where row-level security would hide rows, and not a part that looks like the whole.
SET row_security = off AS $function$
#variable_conflict use_column  -- the table may have columns called "after", "batch" or "last"
BEGIN
  WITH range AS MATERIALIZED (
    SELECT "source"."tenant_id", "source"."code" FROM "public"."memo" AS source
    WHERE "memo_search_fill".after IS NULL OR ("source"."tenant_id", "source"."code") > ((jsonb_populate_record(NULL::"public"."memo_search_document", "memo_search_fill".after))."tenant_id", (jsonb_populate_record(NULL::"public"."memo_search_document", "memo_search_fill".after))."code")
    ORDER BY "source"."tenant_id", "source"."code" LIMIT "memo_search_fill".batch
  ),
  source AS MATERIALIZED (
    SELECT source.* FROM "public"."memo" AS source
    WHERE ("source"."tenant_id", "source"."code") IN (SELECT "tenant_id", "code" FROM range)
    FOR KEY SHARE OF source
  ),
  written AS (
    INSERT INTO "public"."memo_search_document" ("tenant_id", "code", tsv, length, truncated, generation)
    SELECT "source"."tenant_id", "source"."code", made.tsv, pgsearch.token_count(made.tsv), made.truncated,
           nextval('"public"."memo_search_generation"'::regclass)
    FROM source,
         pgsearch.document_tsvector('english'::regconfig, ARRAY[source."title"::text, source."body"::text], '{A,B}'::"char"[]) AS made
    ON CONFLICT ("tenant_id", "code") DO NOTHING
    RETURNING "tenant_id", "code"
  ),
  queued AS (
    INSERT INTO "public"."memo_search_queue" ("tenant_id", "code") SELECT "tenant_id", "code" FROM written
  )
  SELECT
    (SELECT jsonb_build_object('tenant_id', "source"."tenant_id", 'code', "source"."code")
     FROM range AS source ORDER BY source."tenant_id" DESC, source."code" DESC LIMIT 1),
    (SELECT count(*) FROM written)
  INTO last, documents;
END
$function$;

REVOKE ALL ON FUNCTION "public"."memo_search_fill"(jsonb, integer) FROM PUBLIC;

-- Takes keyword statistics anew: document count, mean length, and the common lexemes with their
-- document frequencies from the planner's statistics of the tsvector.
CREATE FUNCTION "public"."memo_search_refresh_statistics"() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  documents bigint;
  mean double precision;
  drawn bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended('"public"."memo_search_refresh_statistics"', 0)) THEN
    RETURN;  -- another session is at it
  END IF;
  SELECT last_value INTO drawn FROM "public"."memo_search_generation";
  ANALYZE "public"."memo_search_document";
  SELECT count(*), avg(length) INTO documents, mean FROM "public"."memo_search_document";
  WITH common AS MATERIALIZED (
    -- The frequencies end with their own bounds, which unnest pairs with NULL.
    SELECT entry.lexeme, greatest(round(entry.frequency * documents), 1)::bigint AS document_count
    FROM pg_stats,
         unnest(most_common_elems::text::text[], most_common_elem_freqs) AS entry (lexeme, frequency)
    WHERE schemaname = 'public' AND tablename = 'memo_search_document' AND attname = 'tsv'
      AND entry.lexeme IS NOT NULL
  ),
  gone AS (
    DELETE FROM "public"."memo_search_lexeme" AS old WHERE NOT EXISTS (SELECT FROM common WHERE common.lexeme = old.lexeme)
  )
  INSERT INTO "public"."memo_search_lexeme" AS old (lexeme, document_count) SELECT lexeme, document_count FROM common
  ON CONFLICT (lexeme) DO UPDATE SET document_count = excluded.document_count
  WHERE old.document_count <> excluded.document_count;
  UPDATE pgsearch.search_index
  SET document_count = documents, mean_length = mean,
      statistics_generation = drawn, statistics_at = clock_timestamp()
  WHERE schema_name = 'public' AND name = 'memo_search';
END
$function$;

REVOKE ALL ON FUNCTION "public"."memo_search_refresh_statistics"() FROM PUBLIC;

-- The terms of a query with their inverse document frequency, as BM25 wants them. Common lexemes
-- are looked up; what is not among them is rare, so counting it exactly is cheap. It runs as its
-- owner: a caller under row-level security weighs terms by the whole table, as everyone does.
--
-- Every term scores, but not every term brings documents to score: tier 1 holds the rarest terms,
-- up to a budget of documents; tier 2 the next one, where those may bring fewer than are wanted.
CREATE FUNCTION "public"."memo_search_terms"(query text, wanted integer DEFAULT 100)
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
  WHERE i.schema_name = 'public' AND i.name = 'memo_search';
  -- Statistics that were never taken, or of empty documents only, say nothing.
  IF coalesce(mean, 0) = 0 THEN
    SELECT count(*), avg(d.length) INTO documents, mean FROM "public"."memo_search_document" AS d;
  END IF;
  budget := least(greatest(0.2 * documents, 300), 3000);
  RETURN QUERY
  WITH counted AS MATERIALIZED (
    SELECT
      pgsearch.lexeme_query(asked.lexeme) AS term,
      coalesce(
        (SELECT known.document_count FROM "public"."memo_search_lexeme" AS known WHERE known.lexeme = asked.lexeme),
        (SELECT count(*) FROM (
          SELECT FROM "public"."memo_search_document" AS d WHERE d.tsv @@ pgsearch.lexeme_query(asked.lexeme) LIMIT 10000
        ) AS few)
      ) AS frequency
    FROM unnest(pgsearch.query_lexemes('english'::regconfig, query)) AS asked (lexeme)
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
REVOKE ALL ON FUNCTION "public"."memo_search_terms"(text, integer) FROM PUBLIC;

-- Answers a query; see the comments inside. Filters narrow both legs, not the result.
CREATE FUNCTION "public"."memo_search"(
  query     text,
  k         integer DEFAULT 10,
  vector    vector  DEFAULT NULL,
  mode      text    DEFAULT 'hybrid',
  embedding text    DEFAULT NULL,
  "tenant_id" integer DEFAULT NULL,
  "kind" text DEFAULT NULL
) RETURNS SETOF "public"."memo_search_hit"
LANGUAGE plpgsql STABLE
-- pgvector's operators are found as they are now, whatever the caller's search_path. Compiling the
-- statement anew for each call would take longer than running it.
SET search_path FROM CURRENT
SET jit = off AS $function$
DECLARE
  answering pgsearch.embedding;
  filters text := concat_ws(' AND ',
    CASE WHEN "memo_search"."tenant_id" IS NOT NULL THEN 'source."tenant_id" = $7' END,
    CASE WHEN "memo_search"."kind" IS NOT NULL THEN 'source."kind" = $8' END);
  -- How many documents each leg brings.
  depth integer := greatest(100, 2 * k);
BEGIN
  PERFORM pgsearch.check_request(query, k, mode);
  answering := pgsearch.answering_embedding('public', 'memo_search', embedding);
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
-- One query, answered from both legs in one statement.
--
-- The keyword leg ranks by BM25 the documents that hold the query's rarest terms; the vector leg
-- takes the nearest chunks from the HNSW index. What either leg finds is then scored exactly in
-- both, so that a document is never judged only by the leg that happened to find it.
WITH term AS MATERIALIZED (
  SELECT term, idf, tier, mean_length FROM "public"."memo_search_terms"($1, $5)
),
question AS MATERIALIZED (
  SELECT
    (string_agg(term::text, ' | ') FILTER (WHERE tier = 1))::tsquery AS rarest,
    (string_agg(term::text, ' | ') FILTER (WHERE tier = 2))::tsquery AS next_rarest,
    -- Quoted phrases and words with a minus sign hold for every result, in both legs.
    pgsearch.query_condition('english'::regconfig, $1) AS condition,
    -- What a document that is full of every term would score.
    nullif(sum(idf), 0) AS bound,
    nullif(max(mean_length), 0) AS mean_length
  FROM term
),
keyword_leg AS MATERIALIZED (
  SELECT "tenant_id", "code", row_number() OVER (ORDER BY ranked.score DESC, "tenant_id", "code") AS keyword_rank
  FROM (
    SELECT
      "found"."tenant_id", "found"."code",
      (SELECT sum(pgsearch.bm25_term(
         found.tsv, term.term, term.idf, found.length / question.mean_length)) FROM term) AS score
    FROM question
    -- The limits bound the work when even the rarest term is common.
    CROSS JOIN LATERAL (
      (SELECT "tenant_id", "code", document.tsv, document.length
       FROM "public"."memo_search_document" AS document
       %2$s
       WHERE $4 <> 'vector'
         AND document.tsv @@ question.rarest
         AND (question.condition IS NULL OR document.tsv @@ question.condition)
       LIMIT 20000)
      UNION ALL
      (SELECT "tenant_id", "code", document.tsv, document.length
       FROM "public"."memo_search_document" AS document
       %2$s
       WHERE $4 <> 'vector'
         AND document.tsv @@ question.next_rarest AND NOT document.tsv @@ question.rarest
         AND (question.condition IS NULL OR document.tsv @@ question.condition)
       LIMIT 3000)
    ) AS found
    ORDER BY score DESC, "found"."tenant_id", "found"."code"
    LIMIT $5
  ) AS ranked
),
-- The HNSW index is used only while this ORDER BY is the bare operator, ascending, with LIMIT and
-- without a tie-break. The scan is iterative, so that a filter cannot leave it empty-handed; its
-- settings are made in the subquery that hands over the vector, which runs before the scan starts.
nearest AS MATERIALIZED (
  SELECT "tenant_id", "code", %1$s <=> (SELECT CASE WHEN set_config('hnsw.iterative_scan', 'relaxed_order', true) IS NOT NULL AND set_config('hnsw.ef_search', least(($5 * 2), 1000)::text, true) IS NOT NULL AND set_config('hnsw.max_scan_tuples', '100000', true) IS NOT NULL AND set_config('hnsw.scan_mem_multiplier', '8', true) IS NOT NULL THEN $3 END) AS distance
  FROM "public"."memo_search_chunk" AS chunk
  %2$s
  WHERE $4 <> 'keyword' AND $3 IS NOT NULL AND %1$s IS NOT NULL
    -- Asked for each chunk that the scan comes to, and no further: a minus sign meets nearly all.
    AND ((SELECT condition FROM question) IS NULL OR (
      SELECT document.tsv @@ (SELECT condition FROM question)
      FROM "public"."memo_search_document" AS document WHERE ("document"."tenant_id", "document"."code") = ("chunk"."tenant_id", "chunk"."code")
    ))
  ORDER BY %1$s <=> (SELECT CASE WHEN set_config('hnsw.iterative_scan', 'relaxed_order', true) IS NOT NULL AND set_config('hnsw.ef_search', least(($5 * 2), 1000)::text, true) IS NOT NULL AND set_config('hnsw.max_scan_tuples', '100000', true) IS NOT NULL AND set_config('hnsw.scan_mem_multiplier', '8', true) IS NOT NULL THEN $3 END)
  LIMIT ($5 * 2)
),
vector_leg AS MATERIALIZED (
  SELECT "tenant_id", "code", row_number() OVER (ORDER BY min(distance), "tenant_id", "code") AS vector_rank
  FROM nearest
  GROUP BY "tenant_id", "code"
  ORDER BY min(distance), "tenant_id", "code"
  LIMIT $5
),
candidate AS MATERIALIZED (
  SELECT "tenant_id", "code", keyword_leg.keyword_rank, vector_leg.vector_rank
  FROM keyword_leg FULL JOIN vector_leg USING ("tenant_id", "code")
),
scored AS MATERIALIZED (
  SELECT
    "candidate"."tenant_id", "candidate"."code", candidate.keyword_rank, candidate.vector_rank, document.generation,
    (SELECT sum(pgsearch.bm25_term(
       document.tsv, term.term, term.idf, document.length / question.mean_length))
     FROM term) AS keyword_score,
    question.bound, closest.similarity, closest.ordinal
  FROM candidate
  -- Chunks of a row that was just deleted are still there; their document is not.
  JOIN "public"."memo_search_document" AS document ON ("document"."tenant_id", "document"."code") = ("candidate"."tenant_id", "candidate"."code")
  CROSS JOIN question
  LEFT JOIN LATERAL (
    SELECT chunk.ordinal, 1 - (%1$s <=> $3) AS similarity
    FROM "public"."memo_search_chunk" AS chunk
    WHERE ("chunk"."tenant_id", "chunk"."code") = ("candidate"."tenant_id", "candidate"."code") AND $4 <> 'keyword' AND $3 IS NOT NULL AND %1$s IS NOT NULL
    -- `+ 0` keeps the HNSW index out: this is a handful of rows by primary key.
    ORDER BY (%1$s <=> $3) + 0
    LIMIT 1
  ) AS closest ON true
),
fused AS (
  SELECT
    scored.*,
    CASE $4
      WHEN 'keyword' THEN keyword_score
      WHEN 'vector' THEN similarity
      -- Both on one scale: similarity in units of its own spread, BM25 as a share of its bound.
      -- A document that has no vector yet counts as the least similar of the candidates.
      ELSE coalesce(coalesce(similarity, min(similarity) OVER ()) / $6, 0)
           + 4 * coalesce(keyword_score / bound, 0)
    END AS score
  FROM scored
),
best AS (
  SELECT * FROM fused ORDER BY score DESC NULLS LAST, "tenant_id", "code" LIMIT $2
)
SELECT
  "best"."tenant_id", "best"."code",
  best.score,
  best.keyword_score,
  best.keyword_rank::integer AS keyword_rank,
  best.similarity,
  best.vector_rank::integer AS vector_rank,
  chunk.content AS passage,
  coalesce(chunk.generation <> best.generation, false) AS stale
FROM best
LEFT JOIN "public"."memo_search_chunk" AS chunk
  ON ("chunk"."tenant_id", "chunk"."code") = ("best"."tenant_id", "best"."code") AND chunk.ordinal = coalesce(best.ordinal, 0)
ORDER BY best.score DESC NULLS LAST, "best"."tenant_id", "best"."code"

$search$,
    -- Without an embedding the vector leg is there, and empty.
    coalesce('chunk.' || quote_ident(answering.column_name), 'NULL::vector'),
    CASE WHEN filters <> '' THEN 'JOIN (SELECT "source"."tenant_id", "source"."code" FROM "public"."memo" AS source WHERE ' || filters || ') AS filter USING ("tenant_id", "code")' ELSE '' END
  )
  USING query, k, vector, mode, depth, answering.similarity_stddev, "memo_search"."tenant_id", "memo_search"."kind";
END
$function$;

COMMENT ON FUNCTION "public"."memo_search" IS
  'Search index memo_search: keyword and vector search in one. Made by pgsearch, do not edit';

-- The only thing added to "public"."memo": triggers, which take a lock for a moment.

CREATE TRIGGER "00_memo_search_insert" AFTER INSERT ON "public"."memo"
  FOR EACH ROW EXECUTE FUNCTION "public"."memo_search_capture"();

-- Triggers see NULL in such a column, whatever is read from it.
DO $$
DECLARE
  column_name text;
BEGIN
  SELECT attname INTO column_name FROM pg_catalog.pg_attribute
  WHERE attrelid = '"public"."memo"'::regclass AND attname IN ('title', 'body') AND attgenerated = 'v';
  IF FOUND THEN
    RAISE EXCEPTION 'pgsearch: column % of % is virtual, so that triggers cannot read it',
        quote_ident(column_name), '"public"."memo"'
      USING ERRCODE = 'feature_not_supported',
            HINT = 'Make it STORED, or name the columns that it is made of.';
  END IF;
END
$$;

-- An update that leaves the text alone must cost nothing. The column list sees to that: without
-- it, WHEN would fetch long text from TOAST to compare it. But a column list goes by the columns
-- that the statement names, and a BEFORE trigger may change others; on a table that has one,
-- WHEN decides alone.
DO $$
BEGIN
  IF EXISTS (
    SELECT FROM pg_catalog.pg_trigger
    WHERE tgrelid = '"public"."memo"'::regclass AND NOT tgisinternal
      AND tgtype & 1 = 1 AND tgtype & 2 = 2 AND tgtype & 16 = 16  -- row, before, update
  ) THEN
    CREATE TRIGGER "00_memo_search_update" AFTER UPDATE ON "public"."memo"
      FOR EACH ROW WHEN (OLD."tenant_id" IS DISTINCT FROM NEW."tenant_id" OR OLD."code" IS DISTINCT FROM NEW."code" OR OLD."title"::text COLLATE "C" IS DISTINCT FROM NEW."title"::text OR OLD."body"::text COLLATE "C" IS DISTINCT FROM NEW."body"::text) EXECUTE FUNCTION "public"."memo_search_capture"();
  ELSE
    CREATE TRIGGER "00_memo_search_update" AFTER UPDATE OF "tenant_id", "code", "title", "body" ON "public"."memo"
      FOR EACH ROW WHEN (OLD."tenant_id" IS DISTINCT FROM NEW."tenant_id" OR OLD."code" IS DISTINCT FROM NEW."code" OR OLD."title"::text COLLATE "C" IS DISTINCT FROM NEW."title"::text OR OLD."body"::text COLLATE "C" IS DISTINCT FROM NEW."body"::text) EXECUTE FUNCTION "public"."memo_search_capture"();
  END IF;
END
$$;

CREATE TRIGGER "00_memo_search_delete" AFTER DELETE ON "public"."memo"
  FOR EACH ROW EXECUTE FUNCTION "public"."memo_search_capture"();

CREATE TRIGGER "00_memo_search_truncate" AFTER TRUNCATE ON "public"."memo"
  FOR EACH STATEMENT EXECUTE FUNCTION "public"."memo_search_capture"();

-- Adds an embedding: a column without a default changes the catalogue and no row.

ALTER TABLE "public"."memo_search_chunk" ADD COLUMN "embedding_hash_v1" vector(64);

-- Out of the row and uncompressed: vectors do not compress, and an update of another column must
-- not copy them.
ALTER TABLE "public"."memo_search_chunk" ALTER COLUMN "embedding_hash_v1" SET STORAGE EXTERNAL;

DO $pgsearch$
BEGIN
  INSERT INTO pgsearch.embedding
    (search_index_id, name, column_name, index_name, model, dimensions, m, ef_construction)
  SELECT id, 'hash_v1', 'embedding_hash_v1', 'memo_search_hash_v1_hnsw', '{"name": "hash-64", "dimensions": 64, "revision": null, "provider": "hash", "query_prompt": "", "document_prompt": "", "normalize": true}'::jsonb,
         64, 16, 64
  FROM pgsearch.search_index
  WHERE schema_name = 'public' AND name = 'memo_search';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'pgsearch: there is no search index %.%', 'public', 'memo_search'
      USING HINT = 'Create it first, with op.create_search_index.';
  END IF;
END
$pgsearch$;
