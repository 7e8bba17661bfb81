-- Takes the building of an encoder, unless another worker has it, or nobody wants it.
INSERT INTO pgsearch.encoder AS e (embedding_id, leased_until)
VALUES (%(id)s, clock_timestamp() + %(lease_s)s * interval '1 second')
ON CONFLICT (embedding_id) DO UPDATE SET leased_until = excluded.leased_until
WHERE e.is_wanted AND coalesce(e.leased_until < clock_timestamp(), true) OR %(is_asked)s
RETURNING version
