-- Refuses what search index {index} could not work on, before anything is made.
DO $pgsearch$
DECLARE
  source regclass := to_regclass({table_name});
  registered pgsearch.search_index;
  named text;
BEGIN
  IF (SELECT max(version) FROM pgsearch.installation) < 2 THEN
    RAISE EXCEPTION 'pgsearch: the schema pgsearch is older than this operation'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Call op.pgsearch_install(version=2) before it.';
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
END
$pgsearch$;
