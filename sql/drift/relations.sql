-- Tables, views, sequences and composite types by name: their columns, options and indexes; and the
-- types that are asked for, by number.
SELECT jsonb_build_object(
  'types', (
    SELECT jsonb_object_agg(asked.type, to_regtype(asked.type)::oid::bigint)
    FROM unnest(ARRAY[{types}]::text[]) AS asked (type)
  ),
  'relations', (
    SELECT jsonb_object_agg(c.relname, jsonb_build_object(
      'kind', c.relkind,
      'options', (
        SELECT jsonb_object_agg(o.option_name, o.option_value) FROM pg_options_to_table(c.reloptions) AS o
      ),
      'columns', (
        SELECT jsonb_agg(jsonb_build_object(
          'name', a.attname, 'type', a.atttypid::bigint, 'modifier', a.atttypmod,
          -- A key of a collation of its own has the source's type, which may be a domain.
          'base', (SELECT t.typbasetype::bigint FROM pg_catalog.pg_type AS t WHERE t.oid = a.atttypid),
          'shown', format_type(a.atttypid, a.atttypmod), 'is_required', a.attnotnull,
          'is_identity', a.attidentity <> '', 'default', pg_get_expr(d.adbin, d.adrelid),
          'storage', a.attstorage, 'statistics', coalesce(a.attstattarget, -1)
        ) ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute AS a
        LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      ),
      -- Those that fire for the application's writes.
      'triggers', (
        SELECT jsonb_agg(t.tgname) FROM pg_catalog.pg_trigger AS t
        WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
          AND t.tgfoid = to_regprocedure('pgsearch.notify()')
      ),
      'indexes', (
        SELECT jsonb_agg(jsonb_build_object(
          'name', ic.relname, 'method', m.amname, 'is_valid', i.indisvalid AND i.indisready,
          'is_primary', i.indisprimary, 'is_unique', i.indisunique,
          'columns', (
            SELECT jsonb_agg(a.attname ORDER BY k.place)
            FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, place)
            LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
          ),
          -- NULL where it is over columns only; types and functions come with their schema or without.
          'expression', pg_get_expr(i.indexprs, i.indrelid, true),
          'classes', (
            SELECT jsonb_agg(o.opcname ORDER BY k.place)
            FROM unnest(i.indclass::oid[]) WITH ORDINALITY AS k (class, place)
            JOIN pg_catalog.pg_opclass AS o ON o.oid = k.class
          ),
          'options', (
            SELECT jsonb_object_agg(o.option_name, o.option_value)
            FROM pg_options_to_table(ic.reloptions) AS o
          ),
          'condition', pg_get_expr(i.indpred, i.indrelid)
        ))
        FROM pg_catalog.pg_index AS i
        JOIN pg_catalog.pg_class AS ic ON ic.oid = i.indexrelid
        JOIN pg_catalog.pg_am AS m ON m.oid = ic.relam
        WHERE i.indrelid = c.oid
      )
    ))
    FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = to_regnamespace(quote_ident({schema_literal})) AND c.relname IN ({names})
  )
)::text
