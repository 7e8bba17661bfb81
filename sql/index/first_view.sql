-- Where there is none, as after version 1 or a suspension: the functions read it at once.
DO $pgsearch$
BEGIN
  IF to_regclass({source_view_name}) IS NULL THEN
    {create_view}
  END IF;
END
$pgsearch$;
