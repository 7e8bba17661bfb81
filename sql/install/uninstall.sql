DO $$
BEGIN
  IF EXISTS (SELECT FROM pgsearch.search_index) THEN
    RAISE EXCEPTION 'pgsearch: search indexes still exist: %',
        (SELECT string_agg(format('%I.%I', schema_name, name), ', ') FROM pgsearch.search_index)
      USING HINT = 'Drop them first, with op.drop_search_index.';
  END IF;
END
$$;

-- The extension stays: other tables may use its types. No search index is left, so nobody reads
-- the registry.
-- squawk-ignore ban-drop-schema, require-lock-timeout
DROP SCHEMA pgsearch CASCADE;
