-- The rest of search index {index}, which nothing uses any more; {table} keeps its rows.
DROP FUNCTION IF EXISTS {search}, {replaced}, {terms}(text, integer),
  {terms}(text, integer, regconfig), {refresh}(), {fill}(jsonb, integer), {watch}(), {capture}();

DROP TYPE IF EXISTS {hit}, {row};

DROP SEQUENCE IF EXISTS {generation};

DELETE FROM pgsearch.search_index WHERE schema_name = {schema_literal} AND name = {index_literal};
