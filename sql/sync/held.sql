-- The queue rows of a claim that are still its own: not those that were done by another worker when
-- the lease had run out, nor those of a search index that was made anew under the same name.
SELECT queue_id FROM {queue} WHERE queue_id = ANY(%(ids)s) AND lease = %(lease)s FOR UPDATE
