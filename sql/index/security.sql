-- Whom row-level security keeps from a row of {table} is kept from what is made of it, too. Where the
-- table has none, a companion has none either, for it would be asked for each row. Only where there
-- is a difference, for it locks the companion.
--
-- FORCE is never set on a companion: its owner's triggers could not write it any more.
DECLARE
  source oid := {table_name}::regclass;
  path text := current_setting('search_path');
  wanted boolean := (SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = source);
  is_so boolean;
BEGIN
  PERFORM set_config('search_path', 'pg_catalog', true);
  SELECT c.relrowsecurity = wanted AND NOT c.relforcerowsecurity AND CASE
    WHEN wanted AND {policy_name} <> '' THEN EXISTS (
      SELECT FROM pg_policy AS p
      JOIN (
{parsed_objects}
      ) AS made ON made.kind = 'POLICY' AND made.name = p.polname
      WHERE p.polrelid = c.oid AND p.polname = {policy_name}
        AND p.polcmd = 'r' AND p.polpermissive AND p.polroles = '{{0}}' AND p.polwithcheck IS NULL
        -- As it was written out when it was made, on the key of the same table.
        AND made.comment LIKE '% [' || made.digest || ']'
        AND made.columns @> (SELECT array_agg(attnum) FROM pg_attribute
                             WHERE attrelid = source AND attname IN ({key_names}))
    )
    ELSE NOT EXISTS (
      SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname = {policy_name}
    )
  END INTO is_so
  FROM pg_class AS c WHERE c.oid = {companion_name}::regclass;
  PERFORM set_config('search_path', path, true);
  IF NOT is_so THEN
    -- In the order of a TRUNCATE.
    LOCK TABLE ONLY {table} IN ACCESS SHARE MODE;
    LOCK TABLE ONLY {companion} IN ACCESS EXCLUSIVE MODE;
    {drop_policy}
    IF wanted THEN
      ALTER TABLE {companion} ENABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
{policy}
    ELSE
      ALTER TABLE {companion} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
    END IF;
  END IF;
END;
