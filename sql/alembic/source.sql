-- The columns of a table, with their types and their place in its primary key. A table without a
-- schema is looked for along the search path, as any statement of the migration would.
--
-- A domain is read as the type below it, whose values companions hold: NOT NULL of the domain is the
-- source's business. A type outside of pg_catalog comes with its schema, for others read it with
-- another search path.
SELECT
  n.nspname AS schema,
  a.attname AS column,
  CASE
    WHEN tn.nspname = 'pg_catalog' THEN format_type(t.oid, base.typmod)
    WHEN t.typelem <> 0 AND t.typlen = -1 AND t.typcategory = 'A'
      THEN format('%I.%I[]', tn.nspname, (SELECT typname FROM pg_catalog.pg_type WHERE oid = t.typelem))
    ELSE format('%I.%I', tn.nspname, t.typname)
  END AS type,
  array_position(i.indkey::smallint[], a.attnum) + 1 AS key_position
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
CROSS JOIN LATERAL (
  WITH RECURSIVE below (type, typmod, depth) AS (
    SELECT a.atttypid, a.atttypmod, 0
    UNION ALL
    SELECT d.typbasetype, CASE WHEN below.typmod = -1 THEN d.typtypmod ELSE below.typmod END, depth + 1
    FROM below JOIN pg_catalog.pg_type AS d ON d.oid = below.type AND d.typtype = 'd'
  )
  SELECT type, typmod FROM below ORDER BY depth DESC LIMIT 1
) AS base
JOIN pg_catalog.pg_type AS t ON t.oid = base.type
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relkind IN ('r', 'p')
  AND c.relname = :table
  AND CASE
        WHEN CAST(:schema AS text) IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
        ELSE n.nspname = :schema
      END
ORDER BY a.attnum
