-- What searches filter by. It runs with the rights of whoever asks.
CREATE OR REPLACE VIEW {filter_view} WITH (security_invoker) AS
SELECT {filter_columns} FROM {table} AS source;

-- It shows nobody more than the table does, which asks for its own privileges.
GRANT SELECT ON {filter_view} TO PUBLIC;

COMMENT ON VIEW {filter_view} IS
  'Search index {index_comment}: what searches filter by. Made by pgsearch, do not edit';
