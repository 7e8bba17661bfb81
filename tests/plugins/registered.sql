-- All that the registry says, but when and how much at a time, and by names where numbers differ.
SELECT 'version' AS kind, version::text AS name, NULL::jsonb AS what FROM pgsearch.installation
UNION ALL
SELECT 'index', i.name, to_jsonb(i) - '{id,created_at,filled_at,fill_started_at,fill_rows,statistics_at,partitions}'::text[]
  || jsonb_build_object('partitions', i.partitions::regclass[]::text, 'filled', filled_at IS NULL)
FROM pgsearch.search_index AS i
UNION ALL
SELECT 'embedding', i.name,
  to_jsonb(e) - '{id,search_index_id,created_at,ready_at,activated_at,fill_started_at}'::text[]
FROM pgsearch.embedding AS e JOIN pgsearch.search_index AS i ON i.id = e.search_index_id
UNION ALL
SELECT DISTINCT 'event', i.name, to_jsonb(h) - '{id,at,search_index_id}'::text[]
FROM pgsearch.event AS h LEFT JOIN pgsearch.search_index AS i ON i.id = h.search_index_id
ORDER BY 1, 2, 3
