-- The functions in the schema pgsearch: their bodies, which are empty where PostgreSQL has parsed them.
SELECT jsonb_object_agg(found.name, found.bodies)::text
FROM (
  SELECT p.proname AS name, jsonb_agg(p.prosrc) AS bodies
  FROM pg_catalog.pg_proc AS p
  WHERE p.pronamespace = to_regnamespace('pgsearch')
  GROUP BY p.proname
) AS found
