-- It depends on the key columns of the source. Without it nobody is admitted whom row-level security
-- concerns.
IF EXISTS (SELECT FROM pg_catalog.pg_policy
           WHERE polrelid = to_regclass({companion_name}) AND polname = {policy_name}) THEN
  DROP POLICY {policy_plain} ON {companion};
END IF;
