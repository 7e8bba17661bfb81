UPDATE pgsearch.embedding SET
  fill_key = %(last)s::jsonb,
  filled_at = CASE WHEN %(last)s::jsonb IS NULL THEN clock_timestamp() END,
  fill_started_at = coalesce(fill_started_at, now())
WHERE id = %(id)s
