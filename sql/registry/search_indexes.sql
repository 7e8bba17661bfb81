-- All search indexes. The version changes with the definition, by whatever it is changed.
SELECT
  i.id, i.definition, md5(i.definition::text) AS version, source.name::text AS "table",
  i.template_version, i.capturing, i.filled_at IS NOT NULL AS filled,
  i.refill_documents OR i.refill_chunks AS refill,
  EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = source.name AND c.relkind = 'p')
    AS is_partitioned
FROM pgsearch.search_index AS i,
     pgsearch.source_table(i.schema_name, i.name) AS source (name)
ORDER BY i.schema_name, i.name
