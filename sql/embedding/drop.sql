-- Drops an embedding with its vectors and its HNSW index.

DO $$
BEGIN
  DELETE FROM pgsearch.embedding AS e
  USING pgsearch.search_index AS i
  WHERE i.id = e.search_index_id AND i.schema_name = {schema_literal}
    AND i.name = {index_literal} AND e.name = {embedding_literal} AND e.state <> 'active';
  IF NOT FOUND AND EXISTS (
    SELECT FROM pgsearch.embedding AS e JOIN pgsearch.search_index AS i ON i.id = e.search_index_id
    WHERE i.schema_name = {schema_literal} AND i.name = {index_literal}
      AND e.name = {embedding_literal}
  ) THEN
    RAISE EXCEPTION 'pgsearch: embedding % of search index % answers queries and cannot be dropped',
        quote_literal({embedding_literal}), quote_ident({index_literal})
      USING ERRCODE = 'object_in_use',
            HINT = 'Activate another one first, or use op.deactivate_embedding: then keywords answer.';
  END IF;
END
$$;

ALTER TABLE {chunk} DROP COLUMN IF EXISTS {column};
