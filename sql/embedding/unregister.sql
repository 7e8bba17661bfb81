-- From here on no worker writes it, and no search asks for it.
DO $pgsearch$
DECLARE
  found pgsearch.embedding;
BEGIN
  SELECT e.* INTO found
  FROM pgsearch.embedding AS e
  JOIN pgsearch.search_index AS i ON i.id = e.search_index_id
  WHERE i.schema_name = {schema_literal} AND i.name = {index_literal}
    AND e.name = {embedding_literal}
  FOR UPDATE OF e;
  IF found.id IS NULL AND NOT EXISTS (
    -- The drop that stopped in its middle left the column.
    SELECT FROM pg_catalog.pg_attribute
    WHERE attrelid = to_regclass({chunk_name}) AND attname = {column_literal} AND NOT attisdropped
  ) THEN
    RAISE EXCEPTION 'pgsearch: search index % has no embedding %',
        quote_ident({index_literal}), quote_literal({embedding_literal})
      USING ERRCODE = 'undefined_object', HINT = '`pgsearch status` shows those that there are.';
  END IF;
  IF found.state = 'active' THEN
    RAISE EXCEPTION 'pgsearch: embedding % of search index % answers queries and cannot be dropped',
        quote_literal({embedding_literal}), quote_ident({index_literal})
      USING ERRCODE = 'object_in_use',
            HINT = 'Activate another one first, or use op.deactivate_embedding: then keywords answer.';
  END IF;
  DELETE FROM pgsearch.embedding AS e WHERE e.id = found.id;
END
$pgsearch$;
