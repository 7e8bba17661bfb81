-- Workers leave it alone from here on, and do everything again once it is altered: what is written
-- until then is not captured.
UPDATE pgsearch.search_index SET
  capturing = false, refill_documents = true, refill_chunks = true, fill_key = NULL, filled_at = NULL
WHERE schema_name = {schema_literal} AND name = {index_literal};
