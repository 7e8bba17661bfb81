-- Notes the last key of a range; after the last range there is none, and nothing left to do again.
UPDATE pgsearch.search_index SET
  fill_key = %(last)s::jsonb,
  filled_at = CASE WHEN %(last)s::jsonb IS NULL THEN clock_timestamp() END,
  fill_started_at = CASE WHEN fill_key IS NOT NULL THEN fill_started_at ELSE now() END,
  fill_rows = CASE WHEN fill_key IS NOT NULL THEN fill_rows ELSE 0 END + %(rows)s,
  refill_documents = refill_documents AND %(last)s::jsonb IS NOT NULL,
  refill_chunks = refill_chunks AND %(last)s::jsonb IS NOT NULL
WHERE id = %(id)s
