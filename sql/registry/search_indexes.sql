-- All search indexes. The version changes with the definition, by whatever it is changed.
SELECT
  i.id, i.definition, md5(i.definition::text) AS version, source.name::text AS "table",
  i.template_version, i.capturing, i.filled_at IS NOT NULL AS filled,
  i.refill_documents OR i.refill_chunks AS refill,
  EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = source.name AND c.relkind = 'p')
    AS is_partitioned,
  -- Workers must see all rows: the role that asks, and the one as which its functions run.
  CASE
    WHEN row_security_active(source.name) OR row_security_active(document.name)
      THEN current_user::text
    ELSE (
      SELECT owner.rolname::text
      FROM pg_catalog.pg_class AS s
      JOIN pg_catalog.pg_class AS d ON d.oid = document.name
      JOIN pg_catalog.pg_roles AS owner ON owner.oid = d.relowner
      WHERE s.oid = source.name AND s.relrowsecurity
        AND NOT owner.rolsuper AND NOT owner.rolbypassrls
        AND (s.relforcerowsecurity OR NOT pg_has_role(owner.oid, s.relowner, 'USAGE'))
    )
  END AS blind
FROM pgsearch.search_index AS i,
     pgsearch.source_table(i.schema_name, i.name) AS source (name),
     to_regclass(format('%I.%I', i.schema_name, i.name || '_document')) AS document (name)
ORDER BY i.schema_name, i.name
