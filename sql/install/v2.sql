-- pgsearch, version 2: search indexes that change in place, and that follow their tables.

ALTER TABLE pgsearch.search_index
  -- Which templates made its functions: 1 are those that named the source's columns.
  ADD COLUMN template_version integer NOT NULL DEFAULT 1,
  -- False while triggers are being put in place: a worker must not read the table yet.
  ADD COLUMN capturing boolean NOT NULL DEFAULT true,
  -- What the running fill does beside writing the documents that are missing.
  ADD COLUMN refill_documents boolean NOT NULL DEFAULT false,
  ADD COLUMN refill_chunks boolean NOT NULL DEFAULT false,
  -- The leaf partitions whose rows are known; NULL where the source is no partitioned table.
  ADD COLUMN partitions oid[];

ALTER TABLE pgsearch.embedding
  -- A column of the source with vectors that this model has made before, and the newest document
  -- for which they hold.
  ADD COLUMN adopt_column text,
  ADD COLUMN adopt_generation bigint;


-- The source table, as it is called now: the table whose rows the search index reads. NULL if what
-- reads them is gone, as after a DROP COLUMN ... CASCADE.
CREATE FUNCTION pgsearch.source_table(schema_name text, index_name text) RETURNS regclass
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN (
  SELECT argument.typrelid::regclass
  FROM pg_catalog.pg_proc AS reader
  JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = reader.pronamespace
  JOIN pg_catalog.pg_type AS argument ON argument.oid = reader.proargtypes[0]
  WHERE namespace.nspname = 'pgsearch' AND argument.typrelid <> 0
    -- As `IndexNames.reader` has it: a name that is too long is hashed.
    AND reader.proname = CASE
      WHEN octet_length(schema_name || '.' || index_name) <= 63 THEN schema_name || '.' || index_name
      ELSE md5(schema_name || '.' || index_name) END
);


-- The text search configuration that a row or a caller names, as in 'german', 'de', 'de-AT' or
-- 'public.mine'. NULL where there is none of that name.
CREATE FUNCTION pgsearch.text_configuration(name text) RETURNS regconfig
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN (
  SELECT configuration.oid::regconfig
  FROM pg_catalog.pg_ts_config AS configuration
  JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = configuration.cfgnamespace
  WHERE (namespace.nspname = 'pg_catalog' AND configuration.cfgname IN (lower(name), (
      SELECT code.configuration
      FROM (VALUES
        ('ar', 'arabic'), ('ca', 'catalan'), ('da', 'danish'), ('de', 'german'), ('el', 'greek'),
        ('en', 'english'), ('es', 'spanish'), ('et', 'estonian'), ('eu', 'basque'),
        ('fi', 'finnish'), ('fr', 'french'), ('ga', 'irish'), ('hi', 'hindi'),
        ('hu', 'hungarian'), ('hy', 'armenian'), ('id', 'indonesian'), ('it', 'italian'),
        ('lt', 'lithuanian'), ('nb', 'norwegian'), ('ne', 'nepali'), ('nl', 'dutch'),
        ('nn', 'norwegian'), ('no', 'norwegian'), ('pl', 'polish'), ('pt', 'portuguese'),
        ('ro', 'romanian'), ('ru', 'russian'), ('sr', 'serbian'), ('sv', 'swedish'),
        ('ta', 'tamil'), ('tr', 'turkish'), ('yi', 'yiddish')
      ) AS code (language, configuration)
      WHERE code.language = lower(substring(name FROM '^[A-Za-z]{2}(?=[-_]|$)'))
    )))
    OR name IN (namespace.nspname || '.' || configuration.cfgname,
                quote_ident(namespace.nspname) || '.' || quote_ident(configuration.cfgname))
  ORDER BY namespace.nspname = 'pg_catalog' DESC
  LIMIT 1
);


-- The text search configuration of one row: of its own where it names one, else the index's.
CREATE FUNCTION pgsearch.row_configuration(named text, otherwise regconfig) RETURNS regconfig
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(pgsearch.text_configuration(named), otherwise);

-- The text search configuration in which a query is read; a name that means nothing is an error.
CREATE FUNCTION pgsearch.query_configuration(named text, otherwise regconfig) RETURNS regconfig
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  found regconfig := pgsearch.text_configuration(named);
BEGIN
  IF named IS NOT NULL AND found IS NULL THEN
    RAISE EXCEPTION 'pgsearch: there is no text search configuration for the language %', quote_literal(named)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass a name as in ''german'', or a code as in ''de''.';
  END IF;
  RETURN coalesce(found, otherwise);
END
$$;


-- The texts of a JSON document, one on each line: its string values in order, without its keys.
CREATE FUNCTION pgsearch.json_text(document jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
  SELECT string_agg(entry.value #>> '{}', E'\n' ORDER BY entry.place)
  FROM jsonb_path_query(document, 'strict $.** ? (@.type() == "string")')
    WITH ORDINALITY AS entry (value, place)
);

CREATE FUNCTION pgsearch.json_text(document json) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN pgsearch.json_text(document::jsonb);


-- Gives an object that had to be made anew the privileges of the one before it.
CREATE FUNCTION pgsearch.grant_again(object text, privileges aclitem[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  held record;
BEGIN
  IF privileges IS NULL THEN
    RETURN;  -- it had those that an object has by default
  END IF;
  EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', object);
  FOR held IN SELECT * FROM aclexplode(privileges) LOOP
    EXECUTE format('GRANT %s ON %s TO %s%s', held.privilege_type, object,
      CASE held.grantee WHEN 0 THEN 'PUBLIC' ELSE held.grantee::regrole::text END,
      CASE WHEN held.is_grantable THEN ' WITH GRANT OPTION' END);
  END LOOP;
END
$$;


-- Notes another definition of a search index, and what workers have to do again for it: documents
-- where what stands in a tsvector changes, chunks where what is embedded changes. The vectors of
-- chunks that come out the same are kept.
CREATE FUNCTION pgsearch.change_search_index(
  schema_name text, index_name text, definition jsonb, template_version integer, refill boolean
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  old pgsearch.search_index;
  documents boolean;
  chunks boolean;
BEGIN
  SELECT i.* INTO old FROM pgsearch.search_index AS i
  WHERE i.schema_name = change_search_index.schema_name AND i.name = index_name
  FOR UPDATE;
  IF old.id IS NULL THEN
    RAISE EXCEPTION 'pgsearch: there is no search index %.%', quote_ident(schema_name), quote_ident(index_name)
      USING ERRCODE = 'undefined_object', HINT = 'Create it first, with op.create_search_index().';
  END IF;
  -- Types may be spelt in several ways; the companions have them anyway.
  IF (SELECT jsonb_agg(entry - 1 ORDER BY place) FROM jsonb_array_elements(old.definition -> 'key')
        WITH ORDINALITY AS k (entry, place))
     <> (SELECT jsonb_agg(entry - 1 ORDER BY place) FROM jsonb_array_elements(definition -> 'key')
        WITH ORDINALITY AS k (entry, place)) THEN
    RAISE EXCEPTION 'pgsearch: search index % is kept by the key %, not %', quote_ident(index_name),
        old.definition -> 'key', definition -> 'key'
      USING ERRCODE = 'feature_not_supported',
            HINT = 'A key cannot be changed in place: drop the search index and create it anew.';
  END IF;
  documents := refill OR old.refill_documents
    OR old.definition -> 'text' IS DISTINCT FROM definition -> 'text'
    OR old.definition -> 'language' IS DISTINCT FROM definition -> 'language'
    OR old.definition -> 'language_column' IS DISTINCT FROM definition -> 'language_column';
  chunks := refill OR old.refill_chunks
    OR old.definition -> 'chunking' IS DISTINCT FROM definition -> 'chunking'
    -- Weights, the second entry of each, are not embedded.
    OR (SELECT jsonb_agg(entry - 1 ORDER BY place) FROM jsonb_array_elements(old.definition -> 'text')
          WITH ORDINALITY AS t (entry, place))
       IS DISTINCT FROM
       (SELECT jsonb_agg(entry - 1 ORDER BY place) FROM jsonb_array_elements(definition -> 'text')
          WITH ORDINALITY AS t (entry, place));
  UPDATE pgsearch.search_index AS i SET
    definition = change_search_index.definition,
    table_name = change_search_index.definition ->> 'table',
    template_version = change_search_index.template_version,
    capturing = false,
    refill_documents = documents,
    refill_chunks = chunks,
    fill_key = CASE WHEN NOT (documents OR chunks) THEN i.fill_key END,
    filled_at = CASE WHEN NOT (documents OR chunks) THEN i.filled_at END
  WHERE i.id = old.id;
  IF documents OR chunks THEN
    -- Vectors that are to be adopted were looked at for the chunks that there were.
    UPDATE pgsearch.embedding AS e SET
      fill_watermark = NULL,
      adopt_column = CASE WHEN NOT chunks THEN e.adopt_column END,
      adopt_generation = CASE WHEN NOT chunks THEN e.adopt_generation END
    WHERE e.search_index_id = old.id AND e.state = 'filling';
    INSERT INTO pgsearch.event (search_index_id, kind, detail)
    VALUES (old.id, 'changed', jsonb_build_object('documents', documents, 'chunks', chunks));
  END IF;
END
$$;


INSERT INTO pgsearch.installation (version) VALUES (2);
