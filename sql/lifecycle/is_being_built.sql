-- Whether a session is building an index. Of another role's sessions nobody may know which one.
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_stat_progress_create_index
  WHERE datname = current_database() AND index_relid = to_regclass(%(index)s)
)
