-- The rest of search index {index}, which nothing uses any more; {table} keeps its rows.
-- squawk-ignore ban-drop-function, require-lock-timeout
DROP FUNCTION IF EXISTS {search}, {replaced}, {passages}, {passages_replaced},
  {terms}(text, integer), {terms_replaced}(text, integer), {terms}(text, integer, regconfig),
  {embed}(text, text), {encode}(text, integer), {refresh}(), {fill}(jsonb, integer),
  {rewrite}(jsonb), {watch}(), {capture}(), {isolated};

-- squawk-ignore ban-drop-type
DROP TYPE IF EXISTS {hit}, {passage_type}, {row};

-- squawk-ignore ban-drop-sequence
DROP SEQUENCE IF EXISTS {generation};

WITH dropped AS (
  DELETE FROM pgsearch.search_index WHERE schema_name = {schema_literal} AND name = {index_literal}
  RETURNING schema_name, name
)
-- With it goes all that happened to it.
INSERT INTO pgsearch.event (kind, detail)
SELECT 'dropped', jsonb_build_object('schema', schema_name, 'name', name) FROM dropped;
