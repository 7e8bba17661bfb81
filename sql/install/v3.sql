-- pgsearch, version 3: backfills behind fresh changes, in one queue; reconciliation; cheaper writes.

ALTER TABLE pgsearch.search_index
  -- While it is suspended: by table and trigger, whether it fired for what is replicated.
  ADD COLUMN replicated jsonb,
  -- When the fill that runs, or ran last, began, and over how many rows it has gone.
  ADD COLUMN fill_started_at timestamptz,
  ADD COLUMN fill_rows bigint NOT NULL DEFAULT 0;

ALTER TABLE pgsearch.embedding
  -- The fill of an added embedding: the last key that was put into the queue, then the time when
  -- the last one was.
  ADD COLUMN fill_key jsonb,
  ADD COLUMN filled_at timestamptz,
  ADD COLUMN fill_started_at timestamptz;

-- The first embedding of a search index was always filled by the queue.
UPDATE pgsearch.embedding SET filled_at = clock_timestamp() WHERE state <> 'filling';


-- How far a reconciliation has come: the last key that was compared, and what was found.
CREATE TABLE pgsearch.reconciliation (
  search_index_id integer     PRIMARY KEY REFERENCES pgsearch.search_index ON DELETE CASCADE,
  -- Which vectors are made anew and compared: a sample, all, or none.
  vectors         text        NOT NULL,
  after_key       jsonb,
  compared        bigint      NOT NULL DEFAULT 0,
  found           jsonb       NOT NULL DEFAULT '{}',
  started_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE pgsearch.reconciliation IS 'Reconciliations that have not come to their end';


-- A document's tsvector, from its text columns in order, that cannot fail.
--
-- to_tsvector raises an error above 1 MB of lexemes, and a trigger must never make the
-- application's write fail. So long text is cut between words, into pieces too short to reach it,
-- for as long as the sum of the parts, which bounds the whole, stays below it; what is left out
-- of the keyword index is marked by `truncated`. A subtransaction per row would cost more.
CREATE OR REPLACE FUNCTION pgsearch.document_tsvector(
  config regconfig, texts text[], weights "char"[],
  OUT tsv tsvector, OUT truncated boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  piece_length CONSTANT integer := 50000;
  room CONSTANT integer := 1000000;
  -- Pieces are taken from a block, for finding a place in a long text takes as long as the text.
  block_length CONSTANT integer := 1000000;
  block text;
  block_start integer;
  start integer;
  part text;
  piece tsvector;
BEGIN
  tsv := '';
  truncated := false;
  -- Together they are no longer than one piece, as texts mostly are.
  IF octet_length(array_to_string(texts, '')) < piece_length THEN
    FOR i IN 1 .. cardinality(texts) LOOP
      tsv := tsv || setweight(to_tsvector(config, coalesce(texts[i], '')), weights[i]);
    END LOOP;
    RETURN;
  END IF;
  FOR i IN 1 .. cardinality(texts) LOOP
    block_start := 1;
    block := left(texts[i], block_length);
    start := 1;
    LOOP
      IF start > block_length - piece_length THEN
        block_start := block_start + start - 1;
        block := substr(texts[i], block_start, block_length);
        start := 1;
      END IF;
      part := substr(block, start, piece_length);
      EXIT WHEN part IS NULL OR part = '';
      IF length(part) = piece_length THEN
        part := coalesce(substring(part FROM '^.*[[:space:]]'), part);
      END IF;
      start := start + length(part);
      piece := setweight(to_tsvector(config, part), weights[i]);
      IF pg_column_size(tsv) + pg_column_size(piece) > room THEN
        truncated := true;
        RETURN;
      END IF;
      tsv := tsv || piece;
    END LOOP;
  END LOOP;
END
$$;


-- The number of tokens in a tsvector: the length that BM25 knows.
--
-- ts_rank divides by it where it is asked to (2), so it is the quotient of two ranks, exactly, at a
-- fiftieth of the time that unnest(tsv) takes. What is asked for are two words of blanks, which no
-- parser makes: for a query with AND ts_rank is never 0, save for an empty document.
CREATE OR REPLACE FUNCTION pgsearch.token_count(tsv tsvector) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(round(
  ts_rank(tsv, $$' ' & '  '$$::tsquery, 0)::double precision
  / nullif(ts_rank(tsv, $$' ' & '  '$$::tsquery, 2), 0)
), 0)::integer;


-- The number of a queue row that may wait until no fresh change does: from 2^62 on.
CREATE FUNCTION pgsearch.backfill_id(queue regclass) RETURNS bigint
LANGUAGE sql VOLATILE STRICT
RETURN 4611686018427387904 + nextval(queue);


-- Wakes the workers that listen, once for each transaction.
CREATE FUNCTION pgsearch.notify() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_notify('pgsearch', '');
  RETURN NULL;
END
$$;


INSERT INTO pgsearch.installation (version) VALUES (3);
