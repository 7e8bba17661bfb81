-- What is short stays in its row: beside a second vector a row is longer than toast_tuple_target, and
-- its hash, or a key of text, would go out as vectors do. Only where there is a difference, for it
-- locks the table.
DECLARE
  kept name;
BEGIN
  FOR kept IN
    SELECT attname FROM pg_catalog.pg_attribute
    WHERE attrelid = to_regclass({chunk_name}) AND attstorage = 'x'
      AND attname IN ({key_names}, 'content_hash')
  LOOP
    EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE MAIN', to_regclass({chunk_name}), kept);
  END LOOP;
END;
