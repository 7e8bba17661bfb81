WITH finished AS (
  DELETE FROM pgsearch.reconciliation WHERE search_index_id = %(id)s
  RETURNING search_index_id, started_at
)
INSERT INTO pgsearch.event (search_index_id, kind, detail)
SELECT search_index_id, 'reconciled', %(detail)s::jsonb || jsonb_build_object('started_at', started_at)
FROM finished
