SELECT id, definition, filled_at IS NOT NULL AS filled
FROM pgsearch.search_index
ORDER BY schema_name, name
