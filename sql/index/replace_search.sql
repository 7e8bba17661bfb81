-- Functions cannot change their parameters, so the old one is set aside under another name: who is
-- calling it at this moment finishes. Filters change with it, in the same transaction.
DECLARE
  privileges aclitem[];
  old regprocedure;
BEGIN
  SELECT p.oid, p.proacl INTO old, privileges FROM pg_catalog.pg_proc AS p
  WHERE p.pronamespace = to_regnamespace(quote_ident({schema_literal})) AND p.proname = {index_literal}
    AND p.prorettype = to_regtype({hit_name})
    AND (p.proargnames <> ARRAY[{parameter_names}]
         OR p.proargtypes::oid[]::regtype[] <> ARRAY[{parameter_types}]::regtype[]);
  IF FOUND THEN
    -- squawk-ignore renaming-object
    EXECUTE format('ALTER FUNCTION %s RENAME TO %I', old, {replaced_name});
  END IF;
  {create_search}
  PERFORM pgsearch.grant_again({search_object}, privileges);
  SELECT relacl INTO privileges FROM pg_catalog.pg_class WHERE oid = to_regclass({filter_view_name});
  -- squawk-ignore ban-drop-view
  DROP VIEW IF EXISTS {filter_view};
  {create_filter}
  IF to_regclass({filter_view_name}) IS NOT NULL THEN
    PERFORM pgsearch.grant_again({filter_view_name}, privileges);
  END IF;
END;
