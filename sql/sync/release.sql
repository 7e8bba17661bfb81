-- Gives a lease back, so that another worker need not wait until it runs out.
UPDATE {queue} SET leased_until = NULL WHERE queue_id = ANY(%(ids)s)
