-- What types are called: a domain as the type below it, one outside of pg_catalog with its schema.
-- Precision and length are left out. NULL for a type that is not there yet.
SELECT
  asked.type AS asked,
  CASE
    WHEN n.nspname = 'pg_catalog' THEN format_type(t.oid, NULL)
    ELSE format('%I.%I', n.nspname, t.typname)
  END AS type
FROM unnest(CAST(:types AS text[])) AS asked (type)
LEFT JOIN LATERAL (
  WITH RECURSIVE below (type, depth) AS (
    SELECT to_regtype(asked.type)::oid, 0
    UNION ALL
    SELECT d.typbasetype, depth + 1
    FROM below JOIN pg_catalog.pg_type AS d ON d.oid = below.type AND d.typtype = 'd'
  )
  SELECT type FROM below ORDER BY depth DESC LIMIT 1
) AS base ON true
LEFT JOIN pg_catalog.pg_type AS t ON t.oid = base.type
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
