-- Before any row is locked, in the order of a TRUNCATE and its trigger: whoever has to wait for a
-- TRUNCATE must not hold what it waits for, nor what another worker waits for meanwhile. Through
-- the view its table is locked, whatever it is called now.
LOCK TABLE {source_view}, {document} IN ACCESS SHARE MODE
