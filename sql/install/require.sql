-- Refuses a server on which pgsearch cannot work, before anything is created.
DO $$
DECLARE
  found text;
BEGIN
  -- One session after the other, to the end of its transaction.
  PERFORM pg_advisory_xact_lock(hashtextextended('pgsearch.installation', 0));
  IF current_setting('server_version_num')::integer < 150000 THEN
    RAISE EXCEPTION 'pgsearch: this is PostgreSQL %, pgsearch needs 15 or newer',
      current_setting('server_version');
  END IF;
  SELECT coalesce(installed_version, default_version) INTO found
  FROM pg_catalog.pg_available_extensions WHERE name = 'vector';
  IF found IS NULL THEN
    RAISE EXCEPTION 'pgsearch: the extension pgvector is not available on this server'
      USING HINT = 'Install it (Debian and Ubuntu: postgresql-'
        || current_setting('server_version_num')::integer / 10000
        || '-pgvector; Docker: the image pgvector/pgvector), or enable it where PostgreSQL is managed.';
  END IF;
  IF string_to_array(substring(found FROM '^[0-9]+[.][0-9]+'), '.')::integer[] < ARRAY[0, 8] THEN
    RAISE EXCEPTION 'pgsearch: this database has pgvector %, pgsearch needs 0.8.0 or newer', found
      USING HINT = 'Upgrade the package on the server, then: ALTER EXTENSION vector UPDATE';
  END IF;
END
$$;

-- Nobody can wait for an extension that is new, and one that is there is not locked.
-- squawk-ignore require-lock-timeout
CREATE EXTENSION IF NOT EXISTS vector;

-- What is created looks its types and operators up once, here.
DO $$
DECLARE
  found text;
BEGIN
  SELECT n.nspname INTO found
  FROM pg_catalog.pg_extension AS e
  JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
  WHERE e.extname = 'vector';
  IF found <> ALL (current_schemas(true)) THEN
    RAISE EXCEPTION 'pgsearch: pgvector is in the schema %, which is not on the search_path', quote_ident(found)
      USING HINT = 'Add it where the migration connects; those who search do not need it there.';
  END IF;
END
$$;
