-- Refuses what could not work, before anything is made.
DO $pgsearch$
DECLARE
  found pgsearch.embedding;
  search_index integer := (SELECT id FROM pgsearch.search_index
                           WHERE schema_name = {schema_literal} AND name = {index_literal});
BEGIN
  IF search_index IS NULL THEN
    RAISE EXCEPTION 'pgsearch: there is no search index %.%', quote_ident({schema_literal}), quote_ident({index_literal})
      USING ERRCODE = 'undefined_object', HINT = 'Create it first, with op.create_search_index().';
  END IF;
  SELECT e.* INTO found FROM pgsearch.embedding AS e
  WHERE e.search_index_id = search_index AND e.name = {embedding_literal};
  IF found.id IS NOT NULL THEN
    IF found.model <> {model}::jsonb THEN
      RAISE EXCEPTION 'pgsearch: search index % has an embedding % already, of another model',
          quote_ident({index_literal}), quote_literal({embedding_literal})
        USING ERRCODE = 'duplicate_object',
              HINT = 'A model is never changed in place: give the new one a name of its own.';
    END IF;
    -- An older version of the registry has no place for it.
    IF (coalesce(to_jsonb(found) ->> 'vector_type', 'vector'), coalesce(to_jsonb(found) ->> 'index_type', 'vector'))
       <> ({vector_type}, {index_type}) THEN
      RAISE EXCEPTION 'pgsearch: search index % has an embedding % already, of another precision',
          quote_ident({index_literal}), quote_literal({embedding_literal})
        USING ERRCODE = 'duplicate_object',
              HINT = 'It is never changed in place: give the new one a name of its own.';
    END IF;
    RETURN;
  END IF;
{check_adopted}END
$pgsearch$;
