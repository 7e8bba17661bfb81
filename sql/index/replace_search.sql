-- Functions cannot change their parameters, so the old one is set aside under another name: who is
-- calling it at this moment finishes. Filters change with it, in the same transaction.
DECLARE
  privileges aclitem[];
  old regprocedure;
  source regclass := pgsearch.source_table({schema_literal}, {index_literal});
  readers oid[];
  reader oid;
  filtered text;
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
  -- What made the query's vector: results did not say so before.
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
                 WHERE attrelid = to_regclass({hit_name}) AND attname = 'encoder' AND NOT attisdropped) THEN
    ALTER TYPE {hit} ADD ATTRIBUTE encoder text;
  END IF;
  {create_search}
  PERFORM pgsearch.grant_again({search_object}, privileges);
  SELECT p.oid, p.proacl INTO old, privileges FROM pg_catalog.pg_proc AS p
  WHERE p.pronamespace = to_regnamespace(quote_ident({schema_literal})) AND p.proname = {passages_literal}
    AND p.prorettype = to_regtype({passage_type_name})
    AND (p.proargnames <> ARRAY[{passages_parameter_names}]
         OR p.proargtypes::oid[]::regtype[] <> ARRAY[{passages_parameter_types}]::regtype[]);
  IF FOUND THEN
    -- squawk-ignore renaming-object
    EXECUTE format('ALTER FUNCTION %s RENAME TO %I', old, {passages_replaced_name});
  ELSIF to_regprocedure({passages_identity}) IS NULL THEN
    -- Older templates made none: who may search may ask for passages.
    SELECT proacl INTO privileges FROM pg_catalog.pg_proc
    WHERE oid = to_regprocedure({search_identity});
  END IF;
  {create_passages}
  PERFORM pgsearch.grant_again({passages_object}, privileges);
  -- Who may search, and could filter, can filter by what is new, too: a view's columns are one.
  SELECT array_agg(DISTINCT held.grantee) INTO readers
  FROM pg_catalog.pg_proc AS p, aclexplode(p.proacl) AS held
  WHERE p.oid = to_regprocedure({terms_name_now}) AND held.grantee NOT IN (0, p.proowner)
    AND (SELECT bool_and(has_column_privilege(held.grantee, source, attnum, 'SELECT'))
         FROM unnest(pgsearch.columns_read(to_regclass({filter_view_name}), source)) AS attnum);
  SELECT relacl INTO privileges FROM pg_catalog.pg_class WHERE oid = to_regclass({filter_view_name});
  -- squawk-ignore ban-drop-view
  DROP VIEW IF EXISTS {filter_view};
  {create_filter}
  PERFORM pgsearch.grant_again({filter_view_name}, privileges);
  SELECT string_agg(quote_ident(a.attname), ', ') INTO filtered
  FROM pg_catalog.pg_attribute AS a
  WHERE a.attrelid = source
    AND a.attnum = ANY (pgsearch.columns_read({filter_view_name}::regclass, source));
  FOREACH reader IN ARRAY coalesce(readers, '{{}}') LOOP
    IF NOT has_table_privilege(reader, source, 'SELECT') THEN
      EXECUTE format('GRANT SELECT (%s) ON %s TO %s', filtered, source, reader::regrole);
    END IF;
  END LOOP;
END;
