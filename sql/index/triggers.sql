-- The only thing added to {table}. WHEN alone decides about an update: a column list would miss
-- what another trigger changes in a column that the statement does not name.

CREATE TRIGGER {capture_insert} AFTER INSERT ON {table}
  FOR EACH ROW EXECUTE FUNCTION {capture}();

CREATE TRIGGER {capture_update} AFTER UPDATE ON {table}
  FOR EACH ROW WHEN ({changed}) EXECUTE FUNCTION {capture}();

CREATE TRIGGER {capture_delete} AFTER DELETE ON {table}
  FOR EACH ROW EXECUTE FUNCTION {capture}();

CREATE TRIGGER {capture_truncate} AFTER TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION {capture}();
