-- Search index {index}: what is kept beside {table}, which itself is not altered.

-- First, so that what is found under its name later is known to be its own. Workers leave it alone
-- until the triggers are in place.
INSERT INTO pgsearch.search_index
  (schema_name, name, table_name, definition, template_version, capturing)
VALUES ({schema_literal}, {index_literal}, {table_literal}, {definition}::jsonb, {template_version}, false)
ON CONFLICT (schema_name, name) DO NOTHING;

-- New, or there already and not locked.
-- squawk-ignore require-lock-timeout
CREATE SEQUENCE IF NOT EXISTS {generation} AS bigint;

-- One row per source row, written by triggers in the application's own transaction. Like the other
-- tables it is made with all that belongs to it or not at all: when a migration is run again, to
-- ask even for an index that is there would lock the table.
DO $pgsearch$
BEGIN
  IF to_regclass({document_name}) IS NULL THEN
    CREATE TABLE {document} (
      {key_definitions},
      tsv        tsvector NOT NULL,
      length     integer  NOT NULL,
      truncated  boolean  NOT NULL,
      generation bigint   NOT NULL,
      PRIMARY KEY ({key})
    )
    -- Up to 8 kB of tsvector stay in the row as they are: BM25 reads them once per term, and taking
    -- them out of TOAST each time costs three times as much.
    WITH (toast_tuple_target = 8160, autovacuum_analyze_scale_factor = 0.05);
    ALTER TABLE {document} ALTER COLUMN tsv SET STORAGE EXTERNAL;
    -- The planner's list of common lexemes is where document frequencies come from.
    ALTER TABLE {document} ALTER COLUMN tsv SET STATISTICS 1000;
    -- New entries wait in a list, for many at once cost a third of what they cost one by one. Every
    -- search reads the list; it is half as long as by default; kB.
    CREATE INDEX {document_tsv_index} ON {document} USING gin (tsv)
      WITH (gin_pending_list_limit = 2048);
  END IF;
END
$pgsearch$;

-- The passages, written by workers only; `content` is exactly the text that was embedded.
DO $pgsearch$
BEGIN
  IF to_regclass({chunk_name}) IS NULL THEN
    CREATE TABLE {chunk} (
      {key_definitions},
      ordinal      integer NOT NULL,
      content      text    NOT NULL,
      content_hash bytea   NOT NULL,
      generation   bigint  NOT NULL,
      PRIMARY KEY ({key}, ordinal)
    )
    -- Vectors go out of the row and half of each page stays free, so that filling a second
    -- embedding is a HOT update that does not re-enter the first one's HNSW graph.
    WITH (fillfactor = 50, toast_tuple_target = 128);
    CREATE INDEX {chunk_hash_index} ON {chunk} (content_hash);
  END IF;
END
$pgsearch$;

-- One appended row per change. A row without a key says that the source table was truncated. Rows
-- of a backfill have numbers from 2^62 on, so that fresh changes come before them.
DO $pgsearch$
BEGIN
  IF to_regclass({queue_name}) IS NULL THEN
    CREATE TABLE {queue} (
      queue_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      {key_definitions},
      enqueued_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
      attempts     integer     NOT NULL DEFAULT 0,
      leased_until timestamptz,
      not_before   timestamptz,
      failed_at    timestamptz,
      last_error   text,
      -- The document could not be written in the application's transaction: a worker writes it.
      rewrite      boolean     NOT NULL DEFAULT false,
      -- How many workers ended while they held it, and the claim that holds it now.
      lost         integer     NOT NULL DEFAULT 0,
      lease        bigint
    )
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
    -- Only of rows on which a model failed: an application's change pays nothing for it.
    CREATE INDEX {queue_key_index} ON {queue} ({key}) WHERE attempts > 0;
    IF {notifies} THEN
      CREATE TRIGGER {notify} AFTER INSERT ON {queue}
        FOR EACH STATEMENT EXECUTE FUNCTION pgsearch.notify();
    END IF;
  END IF;
END
$pgsearch$;

-- How many documents hold each common lexeme; refreshed from the planner's statistics.
CREATE TABLE IF NOT EXISTS {lexeme} (
  lexeme         text   PRIMARY KEY,
  document_count bigint NOT NULL
);

-- Keys compare as they do in {table}: a text key, or its domain, may have a collation of its own.
DO $pgsearch$
DECLARE
  kept record;
BEGIN
  FOR kept IN
    SELECT k.attrelid::regclass AS companion, k.attname AS name,
           format_type(k.atttypid, k.atttypmod) AS type, s.attcollation::regcollation AS collation
    FROM pg_attribute AS s
    JOIN pg_attribute AS k ON k.attname = s.attname AND k.attrelid IN
      ({document_name}::regclass, {chunk_name}::regclass, {queue_name}::regclass)
    WHERE s.attrelid = {table_name}::regclass AND s.attname IN ({key_names})
      AND s.attcollation <> k.attcollation AND 0 NOT IN (s.attcollation, k.attcollation)
  LOOP
    -- The tables are new, and have no rows yet.
    -- squawk-ignore changing-column-type
    EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s COLLATE %s',
      kept.companion, kept.name, kept.type, kept.collation);
  END LOOP;
END
$pgsearch$;

-- One result of a search.
DO $pgsearch$
BEGIN
  IF to_regtype({hit_name}) IS NULL THEN
    CREATE TYPE {hit} AS (
      {key_definitions},
      score         double precision,
      keyword_score double precision,
      keyword_rank  integer,
      similarity    double precision,
      vector_rank   integer,
      passage       text,
      stale         boolean,
      encoder       text
    );
  END IF;
END
$pgsearch$;
