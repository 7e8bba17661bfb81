-- Documents when statistics were last taken, and changes since; NULL if they never were, or if the
-- documents were truncated since: PostgreSQL then forgets how many rows a table has.
SELECT
  coalesce(i.document_count, 0),
  CASE WHEN c.reltuples >= 0 THEN s.last_value - i.statistics_generation END
FROM pgsearch.search_index AS i, {generation} AS s, pg_catalog.pg_class AS c
WHERE i.id = %(id)s AND c.oid = {document}::regclass
