-- The vectors of tokens, whose sum is a query's vector: words, parts of words behind a #, and pairs of
-- words with a blank between them, of what they add to the sum of both. Workers write them. They hold words of the table, whoever may read its rows: so nobody reads them but by the
-- function below, which tells of the words that it is asked for.
DO $pgsearch$
BEGIN
  IF to_regclass({token_name}) IS NULL THEN
    CREATE TABLE {token} (
      embedding_id integer NOT NULL,
      token        text    COLLATE "C" NOT NULL,
      vector       halfvec NOT NULL,
      PRIMARY KEY (embedding_id, token)
    )
    -- Vectors stay in the row, where one look into the index finds them.
    WITH (toast_tuple_target = 8160);
  END IF;
END
$pgsearch$;

-- The vectors of a query's tokens: of each word that is known, of the parts of one that is not, which
-- then have its place, and of pairs of words side by side, whose places are below zero. What stands behind a minus sign is not asked for.
DO $pgsearch$
DECLARE
  -- Who may ask for terms may ask for this.
  privileges aclitem[] := (SELECT proacl FROM pg_catalog.pg_proc
    WHERE oid = coalesce(to_regprocedure({encode_name_now}), to_regprocedure({terms_name_now})));
BEGIN
CREATE OR REPLACE FUNCTION {encode}(query text, embedding_id integer)
RETURNS TABLE (place bigint, vector halfvec)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH asked AS MATERIALIZED (
    -- As subqueries, each is one look into the primary key, whatever the planner thinks of the table.
    SELECT word.place, word.token, (
      SELECT known.vector FROM {token} AS known
      WHERE known.embedding_id = {encode_name}.embedding_id AND known.token = word.token
    ) AS vector
    FROM unnest(pgsearch.encoder_words(
      CASE WHEN query ~ '(^|\s)-' THEN regexp_replace(query, '(^|\s)-("[^"]*"|[^\s"]+)', ' ', 'g')
        ELSE query END
    )) WITH ORDINALITY AS word (token, place)
  )
  SELECT asked.place, asked.vector FROM asked WHERE asked.vector IS NOT NULL
  UNION ALL
  SELECT part.place, part.vector
  FROM (
    SELECT asked.place, (
      SELECT known.vector FROM {token} AS known
      WHERE known.embedding_id = {encode_name}.embedding_id AND known.token = part.token
    ) AS vector
    FROM asked CROSS JOIN LATERAL unnest(pgsearch.encoder_parts(asked.token)) AS part (token)
    WHERE asked.vector IS NULL
  ) AS part
  WHERE part.vector IS NOT NULL
  UNION ALL
  SELECT pair.place, pair.vector
  FROM (
    SELECT -word.place AS place, (
      SELECT known.vector FROM {token} AS known
      WHERE known.embedding_id = {encode_name}.embedding_id AND known.token = word.token
    ) AS vector
    FROM (
      SELECT asked.place, lag(asked.token) OVER (ORDER BY asked.place) || ' ' || asked.token AS token
      FROM asked
    ) AS word
    WHERE word.place > 1
  ) AS pair
  WHERE pair.vector IS NOT NULL;
END
$function$;
REVOKE ALL ON FUNCTION {encode}(text, integer) FROM PUBLIC;
PERFORM pgsearch.grant_again('FUNCTION ' || {encode_name_now}, privileges);
END
$pgsearch$;

-- The vector of a query, made here, as {index_plain} makes it where none is given: by the encoder of
-- the active embedding, or of the one that is named. NULL where there is none, or no token is known.
CREATE OR REPLACE FUNCTION {embed}(query text, embedding text DEFAULT NULL) RETURNS vector
LANGUAGE plpgsql STABLE
-- pgvector's functions are found as they are now, whatever the caller's search_path.
SET search_path FROM CURRENT AS $function$
DECLARE
  answering record := pgsearch.answering({schema_literal}, {index_literal}, embedding);
  made vector;
BEGIN
  IF answering.has_encoder THEN
    SELECT l2_normalize(sum(word.vector)) INTO made
    FROM (
      SELECT avg(token.vector::vector) AS vector
      FROM {encode}(left(query, 8192), answering.id) AS token
      GROUP BY token.place
    ) AS word;
  END IF;
  RETURN CASE WHEN vector_norm(made) > 0 THEN made END;
END
$function$;
