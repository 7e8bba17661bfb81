-- All that a database holds besides what came with PostgreSQL and its extensions, as rows
-- (kind, name, what it is like), to compare two databases or two moments of one.
WITH
own_schema AS (
  SELECT oid, nspname FROM pg_namespace
  WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
),
extension_member AS (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
),
relation AS (
  SELECT c.*, format('%I.%I', s.nspname, c.relname) AS full_name
  FROM pg_class AS c JOIN own_schema AS s ON s.oid = c.relnamespace
  WHERE ('pg_class'::regclass, c.oid) NOT IN (SELECT * FROM extension_member)
),
routine AS (
  SELECT p.*, p.oid::regprocedure::text AS full_name
  FROM pg_proc AS p JOIN own_schema AS s ON s.oid = p.pronamespace
  WHERE ('pg_proc'::regclass, p.oid) NOT IN (SELECT * FROM extension_member)
)
SELECT 'extension' AS kind, extname::text AS name, extversion AS what FROM pg_extension
UNION ALL
SELECT 'schema', nspname::text, concat_ws(' ', n.nspacl::text, obj_description(n.oid, 'pg_namespace'))
FROM pg_namespace AS n JOIN own_schema AS s USING (nspname)
UNION ALL
SELECT 'relation', full_name,
  concat_ws(' ', relkind, relpersistence, reloptions::text, relrowsecurity, relacl::text,
    obj_description(oid, 'pg_class'))
FROM relation
UNION ALL
SELECT 'column', format('%s.%I', r.full_name, a.attname),
  concat_ws(' ',
    rank() OVER (PARTITION BY r.oid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN 'not null' END, 'storage', a.attstorage,
    'statistics', coalesce(nullif(a.attstattarget, -1), NULL), 'identity', a.attidentity,
    a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid))
FROM relation AS r
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
UNION ALL
SELECT 'index', r.full_name, concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid)
FROM relation AS r JOIN pg_index AS i ON i.indexrelid = r.oid
UNION ALL
SELECT 'constraint', format('%s.%I', r.full_name, c.conname), pg_get_constraintdef(c.oid)
FROM relation AS r JOIN pg_constraint AS c ON c.conrelid = r.oid
UNION ALL
SELECT 'sequence', r.full_name, concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement)
FROM relation AS r JOIN pg_sequence AS s ON s.seqrelid = r.oid
UNION ALL
SELECT 'trigger', format('%s.%I', r.full_name, t.tgname),
  concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
FROM relation AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT 'function', full_name,
  concat_ws(' ', pg_get_functiondef(oid), proacl::text, obj_description(oid, 'pg_proc'))
FROM routine
ORDER BY kind, name
