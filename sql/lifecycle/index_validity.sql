-- Whether an index is there, and valid: a build that failed in its middle leaves an invalid one.
SELECT i.indisvalid
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
WHERE n.nspname = %(schema)s AND c.relname = %(index)s
