-- Passages that were cut in its tokens are cut anew in those of the next one. A worker that does not
-- know yet cannot do it: without the column it fails, and looks again. The registry comes first, as
-- for workers.
UPDATE pgsearch.search_index AS i
SET refill_chunks = true, fill_key = NULL, filled_at = NULL
WHERE i.schema_name = {schema_literal} AND i.name = {index_literal}
  AND (
    SELECT (h.detail ->> 'has_cut')::boolean FROM pgsearch.event AS h
    WHERE h.search_index_id = i.id AND h.embedding = {embedding_literal} AND h.kind = 'dropped'
    ORDER BY h.id DESC LIMIT 1
  )
  -- Not when this is run again.
  AND EXISTS (
    SELECT FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = to_regclass({chunk_name}) AND a.attname = {column_literal}
      AND NOT a.attisdropped
  );
-- squawk-ignore ban-drop-column
ALTER TABLE IF EXISTS {chunk} DROP COLUMN IF EXISTS {column};
