-- The declared expressions, by number.
CREATE OR REPLACE FUNCTION {expression}(source {table}, item integer) RETURNS text
LANGUAGE sql STABLE
RETURN CASE item
  {expression_items}
END;

-- An expression may fail on a row, and must not make the application's write fail with it, nor
-- stop the worker: the text is absent then, and a warning says so.
CREATE OR REPLACE FUNCTION {evaluate}(source {table}, item integer) RETURNS text
LANGUAGE plpgsql STABLE AS $function$
BEGIN
  RETURN {expression}(source, item);
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'pgsearch: expression % of search index % failed: %', item, {index_literal}, SQLERRM;
  RETURN NULL;
END
$function$;
