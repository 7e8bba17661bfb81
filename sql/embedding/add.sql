-- Adds an embedding: a column without a default changes the catalogue and no row.

ALTER TABLE {chunk} ADD COLUMN {column} {type};

-- Out of the row and uncompressed: vectors do not compress, and an update of another column must
-- not copy them.
ALTER TABLE {chunk} ALTER COLUMN {column} SET STORAGE EXTERNAL;

DO $pgsearch$
BEGIN
  INSERT INTO pgsearch.embedding
    (search_index_id, name, column_name, index_name, model, dimensions, m, ef_construction)
  SELECT id, {embedding_literal}, {column_literal}, {hnsw_index_literal}, {model}::jsonb,
         {dimensions}, {m}, {ef_construction}
  FROM pgsearch.search_index
  WHERE schema_name = {schema_literal} AND name = {index_literal};
  IF NOT FOUND THEN
    RAISE EXCEPTION 'pgsearch: there is no search index %.%', {schema_literal}, {index_literal}
      USING HINT = 'Create it first, with op.create_search_index.';
  END IF;
END
$pgsearch$;
