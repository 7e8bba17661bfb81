DELETE FROM {queue} WHERE queue_id = ANY(%(ids)s)
