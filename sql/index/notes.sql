-- By a digest of how each is written out, an edit by hand is noticed.
DECLARE
  made record;
  note text;
  path text := current_setting('search_path');
BEGIN
  PERFORM set_config('search_path', 'pg_catalog', true);
  FOR made IN
{parsed_objects}
  LOOP
    note := coalesce(regexp_replace(made.comment, ' [[][0-9]+:[0-9a-f]+[]]$', ''),
                     'Search index ' || {index_literal} || '. Made by pgsearch, do not edit')
      || ' [' || made.digest || ']';
    -- Only where there is a difference, for each locks what it is about.
    IF note IS DISTINCT FROM made.comment THEN
      EXECUTE format('COMMENT ON %s %s IS %L', made.kind, made.identity, note);
    END IF;
  END LOOP;
  PERFORM set_config('search_path', path, true);
END;
