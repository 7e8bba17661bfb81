UPDATE pgsearch.embedding SET
  fill_key = %(last)s::jsonb,
  filled_at = CASE WHEN %(last)s::jsonb IS NULL THEN clock_timestamp() END
WHERE id = %(id)s
