-- Forgets a reconciliation that did not come to its end, as it was asked for, or as it looked at
-- vectors in another way.
DELETE FROM pgsearch.reconciliation
WHERE search_index_id = %(id)s AND (%(restart)s OR vectors <> %(vectors)s)
