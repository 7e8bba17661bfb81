-- The columns of a table, with their types and their place in its primary key. A table without a
-- schema is looked for along the search path, as any statement of the migration would.
SELECT
  n.nspname AS schema,
  a.attname AS column,
  format_type(a.atttypid, a.atttypmod) AS type,
  array_position(i.indkey::smallint[], a.attnum) + 1 AS key_position
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relkind IN ('r', 'p')
  AND c.relname = :table
  AND CASE
        WHEN CAST(:schema AS text) IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
        ELSE n.nspname = :schema
      END
ORDER BY a.attnum
