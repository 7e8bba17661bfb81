-- The declared expressions, by number.
-- Their parameters have no names: one could be taken for a column.
CREATE OR REPLACE FUNCTION {expression}({table}, integer) RETURNS text
LANGUAGE sql STABLE
RETURN CASE $2
  {expression_items}
END;

-- An expression may fail on a row, and must not make the application's write fail with it, nor
-- stop the worker: the text is absent then, and a warning says so.
CREATE OR REPLACE FUNCTION {evaluate}({table}, integer) RETURNS text
LANGUAGE plpgsql STABLE
-- Functions in an expression find what they name as they do now, whoever writes.
SET search_path FROM CURRENT AS $function$
BEGIN
  RETURN {expression}($1, $2);
EXCEPTION WHEN OTHERS THEN
  -- What is not the row's fault: serialization, resources, locks, an administrator.
  IF SQLSTATE ~ '^(40|53|55|57)' THEN
    RAISE;
  END IF;
  RAISE WARNING 'pgsearch: expression % of search index % failed: %', $2, {index_literal}, SQLERRM;
  RETURN NULL;
END
$function$;
