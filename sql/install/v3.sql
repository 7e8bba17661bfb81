-- pgsearch, version 3: backfills behind fresh changes, in one queue; reconciliation.

ALTER TABLE pgsearch.embedding
  -- The fill of an added embedding: the last key that was put into the queue, then the time when
  -- the last one was.
  ADD COLUMN fill_key jsonb,
  ADD COLUMN filled_at timestamptz;

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
