-- Takes search index {index} away; {table} keeps its rows.

DROP TRIGGER IF EXISTS {capture_insert} ON {table};

DROP TRIGGER IF EXISTS {capture_update} ON {table};

DROP TRIGGER IF EXISTS {capture_delete} ON {table};

DROP TRIGGER IF EXISTS {capture_truncate} ON {table};

DROP FUNCTION IF EXISTS {search}, {terms}(text, integer), {refresh}(), {fill}(jsonb, integer), {capture}();

DROP TYPE IF EXISTS {hit};

DROP TABLE IF EXISTS {document}, {chunk}, {queue}, {lexeme};

DROP SEQUENCE IF EXISTS {generation};

DELETE FROM pgsearch.search_index WHERE schema_name = {schema_literal} AND name = {index_literal};
