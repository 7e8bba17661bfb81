-- Left where an alteration stopped in its middle; nobody calls it any more.
-- squawk-ignore ban-drop-function, require-lock-timeout
DROP FUNCTION IF EXISTS {replaced};

-- Notes the new definition, and what workers have to do again.
SELECT pgsearch.change_search_index(
  {schema_literal}, {index_literal}, {definition}::jsonb, {template_version}, {refill}
);
