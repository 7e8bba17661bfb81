SELECT schema_name FROM pgsearch.search_index WHERE name = :name
UNION ALL
SELECT DISTINCT detail ->> 'schema' FROM pgsearch.event
WHERE :or_dropped AND search_index_id IS NULL AND kind = 'dropped' AND detail ->> 'name' = :name
  AND NOT EXISTS (SELECT FROM pgsearch.search_index WHERE name = :name)
ORDER BY 1
