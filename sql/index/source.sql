-- How search index {index} reads {table}. Only here are the table's columns named, in bodies that
-- PostgreSQL parses when they are made: so it follows a renamed table or column, and refuses to
-- drop a column that is read.

-- What is read of one row.
DO $pgsearch$
BEGIN
  IF to_regtype({row_name}) IS NULL THEN
    CREATE TYPE {row} AS (
      {key_definitions},
      texts    text[],
      tsconfig regconfig
    );
  END IF;
END
$pgsearch$;

CREATE OR REPLACE FUNCTION {read}(source {table}) RETURNS {row}
LANGUAGE sql STABLE
RETURN ROW({row_key}, ARRAY[{row_texts}]::text[], {row_configuration})::{row};

-- What triggers call. For a row of a partition, a function for that partition's row type would be
-- preferred; in the schema pgsearch nobody else can make one.
CREATE OR REPLACE FUNCTION {reader}(source {table}) RETURNS {row}
LANGUAGE sql STABLE
RETURN {read}(source);
