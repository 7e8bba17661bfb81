-- Workers leave it alone from here on, and do everything again once it is altered: what is written
-- until then is not captured. Triggers that fire for what is replicated shall do so again.
UPDATE pgsearch.search_index SET
  capturing = false, refill_documents = true, refill_chunks = true, fill_key = NULL, filled_at = NULL,
  replicated = coalesce(
    (SELECT jsonb_object_agg(tgrelid::oid || ' ' || tgname, tgenabled IN ('A', 'R'))
     FROM pg_catalog.pg_trigger WHERE tgfoid = to_regproc({capture_name})),
    replicated
  )
WHERE schema_name = {schema_literal} AND name = {index_literal};
