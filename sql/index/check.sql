-- Refuses what search index {index} could not work on, before anything is made.
DO $pgsearch$
DECLARE
  source regclass := to_regclass({table_name});
  registered pgsearch.search_index;
  named text;
BEGIN
  -- Two migrations at once: one waits for the other, and finds its work done.
  PERFORM pg_advisory_xact_lock(hashtextextended('pgsearch ' || {document_name}, 0));
  IF (SELECT max(version) FROM pgsearch.installation) < 3 THEN
    RAISE EXCEPTION 'pgsearch: the schema pgsearch is older than this operation'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Call op.pgsearch_install(version=3) before it.';
  END IF;
  IF source IS NULL THEN
    RAISE EXCEPTION 'pgsearch: there is no table %', {table_name}
      USING ERRCODE = 'undefined_table', HINT = 'Create it first.';
  END IF;
  IF (SELECT relkind NOT IN ('r', 'p') OR relpersistence = 't' FROM pg_class WHERE oid = source) THEN
    RAISE EXCEPTION 'pgsearch: % is not a table that can have a search index', source
      USING ERRCODE = 'wrong_object_type',
            HINT = 'Views, foreign and temporary tables cannot: name the table that holds the rows.';
  END IF;
  -- Rows of a child are rows of its parent, but a parent's triggers do not fire for them, and their
  -- keys may be the same.
  IF (SELECT relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = source)
      FROM pg_class WHERE oid = source) THEN
    RAISE EXCEPTION 'pgsearch: other tables inherit from %, which a search index cannot follow', source
      USING ERRCODE = 'feature_not_supported',
            HINT = 'Triggers do not fire for the rows of its children. Partition it, or index each child.';
  END IF;
  -- It will own the functions that read the table for workers, and would read a part of it.
  IF {is_new} AND row_security_active(source) THEN
    RAISE EXCEPTION 'pgsearch: row-level security hides rows of % from %, so that they could not be indexed',
        source, current_user
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT =
        'Run migrations as a role with BYPASSRLS, or take FORCE ROW LEVEL SECURITY from the table.';
  END IF;
  SELECT attname INTO named FROM pg_attribute
  WHERE attrelid = source AND attname IN ({column_names}) AND attgenerated = 'v';
  IF FOUND THEN
    RAISE EXCEPTION 'pgsearch: column % of % is virtual, so that triggers cannot read it', quote_ident(named), source
      USING ERRCODE = 'feature_not_supported', HINT = format('Make it STORED, or declare what it is made of: Expression("%s", …).',
        (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
         WHERE adrelid = source AND attname = named));
  END IF;
  -- A language that the triggers could not find would make the application's writes fail.
  IF NOT EXISTS (
    SELECT FROM pg_ts_config AS c JOIN pg_namespace AS n ON n.oid = c.cfgnamespace
    WHERE parse_ident({language}) = ARRAY[n.nspname, c.cfgname]::text[]
       OR (n.nspname = 'pg_catalog' AND parse_ident({language}) = ARRAY[c.cfgname]::text[])
  ) THEN
    RAISE EXCEPTION 'pgsearch: there is no text search configuration %', quote_literal({language})
      USING ERRCODE = 'undefined_object',
            HINT = 'psql lists them with \dF; write one of your own with its schema, as in public.mine.';
  END IF;
  SELECT i.* INTO registered FROM pgsearch.search_index AS i
  WHERE i.schema_name = {schema_literal} AND i.name = {index_literal};
  IF NOT {is_new} AND registered.id IS NULL THEN
    RAISE EXCEPTION 'pgsearch: there is no search index % to alter', quote_ident({index_literal})
      USING ERRCODE = 'undefined_object',
            HINT = 'Create it first, with op.create_search_index(), or name its schema with schema=.';
  END IF;
  IF {is_new} AND registered.definition <> {definition}::jsonb THEN
    RAISE EXCEPTION 'pgsearch: there is a search index % already, and it is another one', quote_ident({index_literal})
      USING ERRCODE = 'duplicate_object',
            HINT = 'Choose another name, or change it with op.alter_search_index().';
  END IF;
  SELECT relname INTO named FROM pg_class
  WHERE relnamespace = to_regnamespace(quote_ident({schema_literal})) AND relname IN ({relation_names});
  IF FOUND AND registered.id IS NULL THEN
    RAISE EXCEPTION 'pgsearch: there is a relation % already, which pgsearch has not made', quote_ident(named)
      USING ERRCODE = 'duplicate_table', HINT = 'Choose another name for the search index.';
  END IF;
  -- CREATE OR REPLACE would leave a stranger's function to its owner, and triggers would run it.
  SELECT found.name INTO named
  FROM (
    SELECT proname AS name, proowner AS owner FROM pg_proc
    WHERE pronamespace = to_regnamespace(quote_ident({schema_literal}))
      AND (proname IN ({routine_names})
           OR (proname = {index_literal} AND proargtypes[0] = 'text'::regtype AND proargtypes[1] = 'integer'::regtype))
    UNION ALL
    SELECT typname, typowner FROM pg_type
    WHERE typnamespace = to_regnamespace(quote_ident({schema_literal})) AND typname IN ({type_names})
  ) AS found
  WHERE registered.id IS NULL
     OR found.owner <> (SELECT relowner FROM pg_class WHERE oid = to_regclass({document_name}));
  IF FOUND THEN
    RAISE EXCEPTION 'pgsearch: there is a function or type % already, which pgsearch has not made', quote_ident(named)
      USING ERRCODE = 'duplicate_object', HINT = 'Drop it, or choose another name for the search index.';
  END IF;
  -- One document for each row, and one row for each document.
  IF {is_new} AND NOT EXISTS (
    SELECT FROM pg_index AS i
    WHERE i.indrelid = source AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
      AND i.indexprs IS NULL
      AND (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_attribute AS a
           WHERE a.attrelid = source AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]) AND a.attnotnull)
        = (SELECT array_agg(name ORDER BY name) FROM unnest(ARRAY[{key_names}]::text[]) AS name)
  ) THEN
    RAISE EXCEPTION 'pgsearch: rows of % are not told apart by (%)', source, concat_ws(', ', {key_names})
      USING ERRCODE = 'invalid_table_definition',
            HINT = 'Name columns that are NOT NULL and have a primary key or a unique index of their own.';
  END IF;
END
$pgsearch$;
