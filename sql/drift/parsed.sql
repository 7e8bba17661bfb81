-- What PostgreSQL has parsed of a search index: functions with an SQL body, views, and the conditions
-- of triggers and policies. It cannot be compared with the text that it was made from. So each has a digest of how
-- PostgreSQL writes it out, and its comment keeps the digest from when it was made. Identifiers are
-- left out of it, for a table or a column may be renamed; which columns of the table are named, in
-- order, comes in `columns` by their numbers.
--
-- How things are written out goes by the search path, which must be `pg_catalog` alone, and may
-- differ between major versions, with which the digest begins.
SELECT
  object.kind, object.name, object.identity, object.comment,
  current_setting('server_version_num')::integer / 10000 || ':' || left(encode(sha256(
    convert_to(string_agg(token.written, '' ORDER BY token.place), 'UTF8')), 'hex'), 32) AS digest,
  array_agg(token.attnum ORDER BY token.place) FILTER (WHERE token.attnum IS NOT NULL) AS columns
FROM (
  SELECT 'FUNCTION' AS kind, p.proname::text AS name, p.oid::regprocedure::text AS identity,
         obj_description(p.oid, 'pg_proc') AS comment,
         'pg_proc'::regclass AS catalogue, p.oid, pg_get_function_sqlbody(p.oid) AS text,
         NULL AS own
  FROM pg_proc AS p
  WHERE p.pronamespace = to_regnamespace(quote_ident({schema_literal})) AND p.prosqlbody IS NOT NULL
    AND p.proname IN ({parsed}) AND p.proargtypes[0] = {source_type}
  UNION ALL
  SELECT 'VIEW', c.relname, c.oid::regclass::text, obj_description(c.oid, 'pg_class'),
         'pg_rewrite'::regclass, r.oid, pg_get_viewdef(c.oid), NULL
  FROM pg_class AS c JOIN pg_rewrite AS r ON r.ev_class = c.oid
  WHERE c.relnamespace = to_regnamespace(quote_ident({schema_literal})) AND c.relkind = 'v'
    AND c.relname IN ({parsed})
  UNION ALL
  SELECT 'TRIGGER', t.tgname, format('%I ON %s', t.tgname, t.tgrelid::regclass),
         obj_description(t.oid, 'pg_trigger'),
         'pg_trigger'::regclass, t.oid, pg_get_triggerdef(t.oid), NULL
  FROM pg_trigger AS t
  WHERE t.tgrelid = {source} AND t.tgname IN ({parsed})
  UNION ALL
  SELECT 'POLICY', p.polname, format('%I ON %s', p.polname, p.polrelid::regclass),
         obj_description(p.oid, 'pg_policy'),
         'pg_policy'::regclass, p.oid, pg_get_expr(p.polqual, p.polrelid),
         quote_ident(c.relname)
  FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid
  WHERE c.relnamespace = to_regnamespace(quote_ident({schema_literal}))
    AND p.polname IN ({policies}) AND p.polname = c.relname || '_visible'
) AS object
CROSS JOIN LATERAL (
  SELECT
    part.place,
    CASE
      WHEN part.text !~ '^["a-z_]' THEN replace(part.text, ' AS ', '')
      WHEN part.before LIKE '% AS ' THEN ''
      -- A column of the companion that a policy is on, which nobody renames.
      WHEN part.before = '.' AND part.first = object.own THEN part.text
      WHEN part.before ~ '(::|COLLATE )$' OR part.after LIKE '(%' OR part.text IN ('true', 'false')
        THEN part.text
      ELSE '?'
    END AS written,
    CASE
      -- No type, no alias, not the row that columns are taken from, and nothing with its schema.
      WHEN part.before ~ '(::| AS |^ )$' OR part.after ~ '^\)?\.' THEN NULL
      WHEN object.kind = 'FUNCTION' AND part.before !~ '\)\.$' THEN NULL
      WHEN object.kind <> 'FUNCTION' AND part.before ~ '\.$'
        AND part.first NOT IN ('old', 'new', 'source') THEN NULL
      ELSE (
        SELECT a.attnum FROM pg_depend AS d
        JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = object.catalogue AND d.objid = object.oid
          AND d.refclassid = 'pg_class'::regclass AND d.refobjid = {source}
          AND quote_ident(a.attname) = part.text
        LIMIT 1
      )
    END AS attnum
  FROM (
    SELECT
      place, piece[1] AS text, lag(piece[1]) OVER list AS before, lead(piece[1]) OVER list AS after,
      lag(piece[1], 2) OVER list AS first
    FROM regexp_matches(
      object.text, '''(?:[^'']|'''')*''|"(?:[^"]|"")*"|[a-z_][a-z0-9_]*|[^''"a-z_]+', 'g'
    ) WITH ORDINALITY AS tokens (piece, place)
    WINDOW list AS (ORDER BY place)
  ) AS part
) AS token
GROUP BY object.kind, object.name, object.identity, object.comment
