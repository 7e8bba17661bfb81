SELECT count(*) FROM {queue}
WHERE failed_at IS NULL AND (not_before IS NULL OR not_before <= clock_timestamp())
