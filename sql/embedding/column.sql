-- A column without a default changes the catalogue and no row. Its values go out of the row and
-- uncompressed: vectors do not compress, and an update of another column must not copy them.
ALTER TABLE {chunk}
  ADD COLUMN IF NOT EXISTS {column} {type},
  ALTER COLUMN {column} SET STORAGE EXTERNAL;
