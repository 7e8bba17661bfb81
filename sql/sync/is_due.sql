SELECT EXISTS (
  SELECT FROM {queue}
  WHERE failed_at IS NULL
    AND (leased_until IS NULL OR leased_until < clock_timestamp())
    AND (not_before IS NULL OR not_before <= clock_timestamp())
)
