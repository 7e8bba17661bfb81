-- Refuses a graph of another precision than the embedding's: no search would use it.
DO $pgsearch$
DECLARE
  -- An older version of the registry has no place for it.
  found jsonb := (
    SELECT '{{"vector_type": "vector", "index_type": "vector"}}' || to_jsonb(e)
    FROM pgsearch.embedding AS e
    JOIN pgsearch.search_index AS i ON i.id = e.search_index_id
    WHERE i.schema_name = {schema_literal} AND i.name = {index_literal} AND e.name = {embedding_literal}
  );
BEGIN
  IF (found ->> 'vector_type', found ->> 'index_type') <> ({vector_type}, {index_type}) THEN
    RAISE EXCEPTION 'pgsearch: embedding % of search index % has a graph of % over a column of %, not one of % over %',
        quote_literal({embedding_literal}), quote_ident({index_literal}),
        found ->> 'index_type', found ->> 'vector_type', {index_type}, {vector_type}
      USING ERRCODE = 'invalid_parameter_value',
            HINT = format('Write op.reindex_embedding(…, vector_type=%L, index_type=%L, dimensions=%s).',
              found ->> 'vector_type', found ->> 'index_type', found ->> 'dimensions');
  END IF;
END
$pgsearch$;
