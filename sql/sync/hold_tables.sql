-- Before any row is locked, in the order of a TRUNCATE and its trigger: whoever has to wait for a
-- TRUNCATE must not hold what it waits for, nor what another worker waits for meanwhile.
LOCK TABLE {table}, {document} IN ACCESS SHARE MODE
