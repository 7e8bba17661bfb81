-- Left where an alteration stopped in its middle; nobody calls it any more.
-- squawk-ignore ban-drop-function, require-lock-timeout
DROP FUNCTION IF EXISTS {replaced}, {passages_replaced};

-- Notes the new definition, and what workers have to do again: all of it where what reads the table
-- is gone, as after a DROP COLUMN ... CASCADE, for then nothing was captured; and where a trigger did
-- not fire for what the application wrote, for from here on all of them do.
SELECT pgsearch.change_search_index(
  {schema_literal}, {index_literal}, {definition}::jsonb, {template_version},
  {refill} OR (
    pgsearch.source_table({schema_literal}, {index_literal}) IS NULL
    AND EXISTS (SELECT FROM pgsearch.search_index WHERE template_version > 1
                AND schema_name = {schema_literal} AND name = {index_literal})
  ) OR EXISTS (
    SELECT FROM pg_catalog.pg_trigger
    WHERE tgfoid = to_regproc({capture_name}) AND tgenabled IN ('D', 'R')
  )
);
