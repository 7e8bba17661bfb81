-- Row-level security of the companion tables; and from whom it hides rows that he has to read: from
-- the owner of the functions, and from workers, who may call what nobody else may. It hides none from
-- whoever may bypass it, nor from the owner of a table, unless it is forced on him.
SELECT jsonb_build_object(
  'companions', (
    SELECT jsonb_object_agg(c.relname, jsonb_build_object(
      'is_secured', c.relrowsecurity,
      'is_forced', c.relforcerowsecurity,
      'policies', (
        SELECT jsonb_object_agg(p.polname, jsonb_build_object(
          'command', p.polcmd, 'is_permissive', p.polpermissive,
          'is_for_all', p.polroles = '{{0}}', 'has_check', p.polwithcheck IS NOT NULL
        ))
        FROM pg_catalog.pg_policy AS p WHERE p.polrelid = c.oid
      )
    ))
    FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = to_regnamespace(quote_ident({schema_literal})) AND c.relname IN ({names})
  ),
  'blind', (
    SELECT jsonb_object_agg(r.rolname, r.oid = fill.proowner)
    FROM pg_catalog.pg_proc AS fill
    JOIN pg_catalog.pg_roles AS r ON r.oid = fill.proowner
      OR (r.rolcanlogin AND has_function_privilege(r.oid, fill.oid, 'EXECUTE'))
    WHERE fill.pronamespace = to_regnamespace(quote_ident({schema_literal}))
      AND fill.proname = {fill_function} AND NOT r.rolsuper AND NOT r.rolbypassrls
      AND EXISTS (
        SELECT FROM pg_catalog.pg_class AS c
        WHERE c.relrowsecurity AND (c.oid = {source} OR (
          c.relnamespace = fill.pronamespace AND c.relname IN ({names})))
          AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
      )
  )
)::text
