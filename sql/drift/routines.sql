-- Functions by name, with what their parameters and results are; a row of the source table is `row`.
SELECT jsonb_agg(jsonb_build_object(
  'name', p.proname,
  'identity', p.oid::regprocedure::text,
  'arguments', (
    SELECT jsonb_agg(CASE WHEN t.typrelid = {source} THEN 'row' ELSE t.typname END ORDER BY k.place)
    FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS k (type, place)
    JOIN pg_catalog.pg_type AS t ON t.oid = k.type
  ),
  'argument_types', to_jsonb(p.proargtypes::oid[]::bigint[]),
  'argument_names', to_jsonb(p.proargnames),
  'result', r.typname,
  'language', l.lanname,
  'body', p.prosrc,
  'is_definer', p.prosecdef,
  'volatility', p.provolatile,
  'settings', to_jsonb(p.proconfig),
  'is_public', p.proacl IS NULL
    OR EXISTS (SELECT FROM aclexplode(p.proacl) AS held WHERE held.grantee = 0)
))::text
FROM pg_catalog.pg_proc AS p
JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
JOIN pg_catalog.pg_type AS r ON r.oid = p.prorettype
WHERE p.pronamespace = to_regnamespace(quote_ident({schema_literal})) AND p.proname IN ({names})
