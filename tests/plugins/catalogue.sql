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
SELECT 'schema', nspname::text, concat_ws(' ', n.nspowner::regrole, n.nspacl::text)
FROM pg_namespace AS n JOIN own_schema AS s USING (nspname)
UNION ALL
SELECT 'relation', full_name,
  concat_ws(' ', relkind, relpersistence, relowner::regrole, relacl::text, reloptions::text,
    (SELECT t.reloptions::text FROM pg_class AS t WHERE t.oid = relation.reltoastrelid),
    'row security', relrowsecurity, relforcerowsecurity, 'identity', relreplident,
    pg_get_expr(relpartbound, oid))
FROM relation
UNION ALL
SELECT 'view', full_name, pg_get_viewdef(oid) FROM relation WHERE relkind IN ('v', 'm')
UNION ALL
SELECT 'column', format('%s.%I', r.full_name, a.attname),
  concat_ws(' ',
    rank() OVER (PARTITION BY r.oid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN 'not null' END, 'storage', a.attstorage, a.attcompression,
    'statistics', coalesce(nullif(a.attstattarget, -1), NULL), 'identity', a.attidentity,
    'generated', a.attgenerated, a.attcollation::regcollation, a.attoptions::text, a.attacl::text,
    pg_get_expr(d.adbin, d.adrelid))
FROM relation AS r
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
UNION ALL
SELECT 'index', r.full_name,
  concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready, i.indislive)
FROM relation AS r JOIN pg_index AS i ON i.indexrelid = r.oid
UNION ALL
SELECT 'constraint', format('%s.%I', r.full_name, c.conname),
  concat_ws(' ', pg_get_constraintdef(c.oid), c.convalidated)
FROM relation AS r JOIN pg_constraint AS c ON c.conrelid = r.oid
UNION ALL
SELECT 'sequence', r.full_name,
  concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
    s.seqcycle)
FROM relation AS r JOIN pg_sequence AS s ON s.seqrelid = r.oid
UNION ALL
SELECT 'trigger', format('%s.%I', r.full_name, t.tgname),
  concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled, t.tgparentid <> 0)
FROM relation AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT 'policy', format('%s.%I', r.full_name, p.polname),
  concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::regrole[]::text,
    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
FROM relation AS r JOIN pg_policy AS p ON p.polrelid = r.oid
UNION ALL
SELECT 'rule', format('%s.%I', r.full_name, w.rulename), pg_get_ruledef(w.oid)
FROM relation AS r JOIN pg_rewrite AS w ON w.ev_class = r.oid AND r.relkind NOT IN ('v', 'm')
UNION ALL
SELECT 'function', full_name,
  concat_ws(' ', pg_get_functiondef(oid), proowner::regrole, proacl::text)
FROM routine
UNION ALL
-- Row types are relations, of which they are a part.
SELECT 'type', format('%I.%I', s.nspname, t.typname),
  concat_ws(' ', t.typtype, t.typowner::regrole, t.typacl::text,
    format_type(nullif(t.typbasetype, 0), t.typtypmod), t.typnotnull, t.typdefault,
    (SELECT string_agg(pg_get_constraintdef(c.oid), ' ' ORDER BY c.conname)
     FROM pg_constraint AS c WHERE c.contypid = t.oid),
    (SELECT string_agg(e.enumlabel, ' ' ORDER BY e.enumsortorder)
     FROM pg_enum AS e WHERE e.enumtypid = t.oid))
FROM pg_type AS t JOIN own_schema AS s ON s.oid = t.typnamespace
WHERE t.typtype IN ('c', 'd', 'e', 'r') AND t.typname NOT LIKE '\_%'
  AND (t.typrelid = 0 OR EXISTS (SELECT FROM relation AS r WHERE r.oid = t.typrelid AND relkind = 'c'))
  AND ('pg_type'::regclass, t.oid) NOT IN (SELECT * FROM extension_member)
UNION ALL
SELECT 'comment', concat_ws(' ', described.type, described.identity), d.description
FROM pg_description AS d
CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS described
WHERE d.objoid >= 16384 AND described.identity IS NOT NULL
  AND (d.classoid, d.objoid) NOT IN (SELECT * FROM extension_member)
  AND described.type NOT IN ('extension', 'database')
ORDER BY kind, name
