-- How many rows wait, counted up to a limit; where there are more, about how many rows there are: as
-- many to a page as when the queue was last vacuumed or analysed.
WITH counted AS MATERIALIZED (
  SELECT count(*) AS rows FROM (
    SELECT FROM {queue}
    WHERE (queue_id >= %(fresh)s AND queue_id < 4611686018427387904)
      AND failed_at IS NULL AND (not_before IS NULL OR not_before <= clock_timestamp())
    UNION ALL
    SELECT FROM {queue}
    WHERE queue_id >= %(backfilled)s
      AND failed_at IS NULL AND (not_before IS NULL OR not_before <= clock_timestamp())
    LIMIT %(limit)s
  ) AS waiting
)
SELECT CASE WHEN rows < %(limit)s THEN rows ELSE greatest(rows, (
  SELECT (reltuples / nullif(relpages, 0)
          * (pg_relation_size(oid) / current_setting('block_size')::integer))::bigint
  FROM pg_catalog.pg_class WHERE oid = {queue_name}::regclass
)) END
FROM counted
