-- Gives a lease back, so that another worker need not wait until it runs out; if need be it asks to
-- be left alone for a while.
UPDATE {queue} SET
  leased_until = NULL,
  not_before = CASE WHEN %(delay_s)s > 0
    THEN clock_timestamp() + make_interval(secs => %(delay_s)s) ELSE not_before END
WHERE queue_id = ANY(%(ids)s) AND lease = %(lease)s AND failed_at IS NULL
