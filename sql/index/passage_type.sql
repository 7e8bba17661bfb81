-- One passage that a search for passages found: the columns of a hit, and where it stands.
DO $pgsearch$
BEGIN
  IF to_regtype({passage_type_name}) IS NULL THEN
    CREATE TYPE {passage_type} AS (
      {key_definitions},
      score          double precision,
      keyword_score  double precision,
      keyword_rank   integer,
      similarity     double precision,
      vector_rank    integer,
      passage        text,
      stale          boolean,
      encoder        text,
      ordinal        integer,
      passage_rank   integer,
      document_score double precision
    );
  END IF;
END
$pgsearch$;
