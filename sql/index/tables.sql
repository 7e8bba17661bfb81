-- Search index {index}: what is kept beside {table}, which itself is not altered.

CREATE SEQUENCE IF NOT EXISTS {generation} AS bigint;

-- One row per source row, written by triggers in the application's own transaction.
CREATE TABLE IF NOT EXISTS {document} (
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

-- Without a pending list, which every search would have to scan.
CREATE INDEX IF NOT EXISTS {document_tsv_index} ON {document} USING gin (tsv) WITH (fastupdate = off);

-- The passages, written by workers only; `content` is exactly the text that was embedded.
CREATE TABLE IF NOT EXISTS {chunk} (
  {key_definitions},
  ordinal      integer NOT NULL,
  content      text    NOT NULL,
  content_hash bytea   NOT NULL,
  generation   bigint  NOT NULL,
  PRIMARY KEY ({key}, ordinal)
)
-- Vectors go out of the row and half of each page stays free, so that filling a second embedding
-- is a HOT update that does not re-enter the first one's HNSW graph.
WITH (fillfactor = 50, toast_tuple_target = 128);

CREATE INDEX IF NOT EXISTS {chunk_hash_index} ON {chunk} (content_hash);

-- One appended row per change. A row without a key says that the source table was truncated.
CREATE TABLE IF NOT EXISTS {queue} (
  queue_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  {key_definitions},
  enqueued_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  attempts     integer     NOT NULL DEFAULT 0,
  leased_until timestamptz,
  not_before   timestamptz,
  failed_at    timestamptz,
  last_error   text
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Only of rows on which a model failed: an application's change pays nothing for it.
CREATE INDEX IF NOT EXISTS {queue_key_index} ON {queue} ({key}) WHERE attempts > 0;

-- How many documents hold each common lexeme; refreshed from the planner's statistics.
CREATE TABLE IF NOT EXISTS {lexeme} (
  lexeme         text   PRIMARY KEY,
  document_count bigint NOT NULL
);

-- Keys compare as they do in {table}: a text key may have a collation of its own.
DO $pgsearch$
DECLARE
  companion regclass;
  key record;
BEGIN
  FOR key IN
    SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attcollation,
           a.attcollation::regcollation AS collation
    FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = {table_name}::regclass AND a.attname IN ({key_names})
      AND a.attcollation <> t.typcollation
  LOOP
    FOREACH companion IN ARRAY ARRAY[{document_name}, {chunk_name}, {queue_name}]::regclass[] LOOP
      IF (SELECT attcollation FROM pg_attribute WHERE attrelid = companion AND attname = key.attname)
         <> key.attcollation THEN
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s COLLATE %s',
          companion, key.attname, key.type, key.collation);
      END IF;
    END LOOP;
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
      stale         boolean
    );
  END IF;
END
$pgsearch$;

-- Workers leave it alone until the triggers are in place.
INSERT INTO pgsearch.search_index
  (schema_name, name, table_name, definition, template_version, capturing)
VALUES ({schema_literal}, {index_literal}, {table_literal}, {definition}::jsonb, {template_version}, false)
ON CONFLICT (schema_name, name) DO NOTHING;
