-- One that nobody knows is left of a migration that stopped in its middle: its vectors may be of
-- another model.
IF NOT EXISTS (
  SELECT FROM pgsearch.embedding AS e JOIN pgsearch.search_index AS i ON i.id = e.search_index_id
  WHERE i.schema_name = {schema_literal} AND i.name = {index_literal} AND e.name = {embedding_literal}
) THEN
  -- squawk-ignore ban-drop-column
  ALTER TABLE {chunk} DROP COLUMN IF EXISTS {column};
END IF;

-- A column without a default changes the catalogue and no row. Its values go out of the row and
-- uncompressed: vectors do not compress, and an update of another column must not copy them.
ALTER TABLE {chunk}
  ADD COLUMN IF NOT EXISTS {column} {type},
  ALTER COLUMN {column} SET STORAGE EXTERNAL;
