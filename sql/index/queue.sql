-- What the queue of an earlier version lacks: a change of the catalogue, whatever waits in it.
IF (SELECT count(*) < 3 FROM pg_catalog.pg_attribute
    WHERE attrelid = {queue_name}::regclass AND attname IN ('rewrite', 'lost', 'lease')) THEN
  ALTER TABLE {queue}
    ADD COLUMN IF NOT EXISTS rewrite boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS lost integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS lease bigint;
END IF;

-- Only where there is a difference, for each would lock the queue.
IF {notifies} <> EXISTS (SELECT FROM pg_catalog.pg_trigger
    WHERE tgrelid = {queue_name}::regclass AND tgname = {notify_name}) THEN
  IF {notifies} THEN
    CREATE TRIGGER {notify} AFTER INSERT ON {queue}
      FOR EACH STATEMENT EXECUTE FUNCTION pgsearch.notify();
  ELSE
    DROP TRIGGER {notify} ON {queue};
  END IF;
END IF;
