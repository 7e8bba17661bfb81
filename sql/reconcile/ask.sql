-- Asks workers to bring keys up to date, behind all fresh changes.
INSERT INTO {queue} (queue_id, {key}, rewrite) OVERRIDING SYSTEM VALUE
SELECT pgsearch.backfill_id(pg_get_serial_sequence({queue_name}, 'queue_id')), {wanted_key}, wanted.pgsearch_anew
FROM unnest({key_arrays}, %(anew)s::boolean[]) AS wanted ({key}, pgsearch_anew)
