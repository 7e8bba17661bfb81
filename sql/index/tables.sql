-- Search index {index}: what is kept beside {table}, which itself is not altered.

-- A language that the triggers could not find would make the application's writes fail.
DO $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_ts_config AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.cfgnamespace
    WHERE parse_ident({language}) = ARRAY[n.nspname, c.cfgname]::text[]
       OR (n.nspname = 'pg_catalog' AND parse_ident({language}) = ARRAY[c.cfgname]::text[])
  ) THEN
    RAISE EXCEPTION 'pgsearch: there is no text search configuration %', quote_literal({language})
      USING ERRCODE = 'undefined_object',
            HINT = 'psql lists them with \dF; write one of your own with its schema, as in public.mine.';
  END IF;
END
$$;

CREATE SEQUENCE {generation} AS bigint;

-- One row per source row, written by triggers in the application's own transaction.
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

-- Without a pending list, which every search would have to scan.
CREATE INDEX {document_tsv_index} ON {document} USING gin (tsv) WITH (fastupdate = off);

-- The passages, written by workers only; `content` is exactly the text that was embedded.
CREATE TABLE {chunk} (
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

CREATE INDEX {chunk_hash_index} ON {chunk} (content_hash);

-- One appended row per change. A row without a key says that the source table was truncated.
CREATE TABLE {queue} (
  queue_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  {nullable_key_definitions},
  enqueued_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  attempts     integer     NOT NULL DEFAULT 0,
  leased_until timestamptz,
  not_before   timestamptz,
  failed_at    timestamptz,
  last_error   text
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Only of rows on which a model failed: an application's change pays nothing for it.
CREATE INDEX {queue_key_index} ON {queue} ({key}) WHERE attempts > 0;

-- How many documents hold each common lexeme; refreshed from the planner's statistics.
CREATE TABLE {lexeme} (
  lexeme         text   PRIMARY KEY,
  document_count bigint NOT NULL
);

-- One result of a search.
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

INSERT INTO pgsearch.search_index (schema_name, name, table_name, definition)
VALUES ({schema_literal}, {index_literal}, {table_literal}, {definition}::jsonb);
