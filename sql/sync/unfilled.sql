-- Puts the next keys whose chunks lack an embedding into the queue, behind all fresh changes. What
-- is parked there stays parked.
WITH range AS MATERIALIZED (
  SELECT DISTINCT {chunk_key} FROM {chunk} AS chunk
  WHERE chunk.{column} IS NULL AND {after}
    AND NOT EXISTS (
      SELECT FROM {queue} AS queue
      WHERE ({queue_key}) = ({chunk_key}) AND queue.attempts > 0 AND queue.failed_at IS NOT NULL
    )
  ORDER BY {chunk_key}
  LIMIT %(rows)s
),
queued AS (
  INSERT INTO {queue} (queue_id, {key}) OVERRIDING SYSTEM VALUE
  SELECT pgsearch.backfill_id(pg_get_serial_sequence({queue_name}, 'queue_id')), {key} FROM range
)
SELECT
  (SELECT jsonb_build_object({range_key_pairs}) FROM range ORDER BY {range_key_descending} LIMIT 1)::text,
  (SELECT count(*) FROM range)
