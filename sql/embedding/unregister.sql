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
    -- A migration that stopped in its middle is run again.
    SELECT FROM pgsearch.event AS h LEFT JOIN pgsearch.search_index AS i ON i.id = h.search_index_id
    WHERE h.kind = 'dropped' AND (
      (i.schema_name, i.name, h.embedding) = ({schema_literal}, {index_literal}, {embedding_literal})
      OR (i.id IS NULL
          AND h.detail = jsonb_build_object('schema', {schema_literal}, 'name', {index_literal})))
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
  IF found.id IS NOT NULL AND to_regclass({token_name}) IS NOT NULL THEN
    DELETE FROM {token} WHERE embedding_id = found.id;
  END IF;
  INSERT INTO pgsearch.event (search_index_id, embedding, kind, detail)
  SELECT found.search_index_id, found.name, 'dropped', jsonb_build_object('has_cut', EXISTS (
    -- Passages are cut in tokens of the oldest one's model; in how many dimensions, is all the same.
    -- One that was retired has left that to the next one then.
    SELECT FROM (
      SELECT e.id, e.model FROM pgsearch.embedding AS e
      WHERE e.search_index_id = found.search_index_id AND e.state <> 'retired'
      ORDER BY e.id LIMIT 1
    ) AS next
    WHERE found.state <> 'retired'
      AND next.id > found.id AND next.model - 'dimensions' <> found.model - 'dimensions'
  ))
  WHERE found.id IS NOT NULL;
END
$pgsearch$;
