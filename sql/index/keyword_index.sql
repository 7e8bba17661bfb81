-- Versions 1 and 2 did without a list of new entries. Only where there is a difference, for it locks
-- the index.
IF (SELECT NOT coalesce(reloptions, '{{}}') && ARRAY['gin_pending_list_limit=2048']
    FROM pg_catalog.pg_class WHERE oid = to_regclass({keyword_index_name})) THEN
  ALTER INDEX {keyword_index} SET (gin_pending_list_limit = 2048);
  ALTER INDEX {keyword_index} RESET (fastupdate);
END IF;
