-- How many rows of a backfill wait, counted up to a limit. The newest are counted, for the oldest are
-- done first; among twice as many, so that what is parked below them is not read each time.
SELECT least(count(*) FILTER (WHERE failed_at IS NULL), %(limit)s) FROM (
  SELECT failed_at FROM {queue} WHERE queue_id >= 4611686018427387904
  ORDER BY queue_id DESC LIMIT 2 * %(limit)s
) AS newest
