-- Workers leave it alone from here on.
UPDATE pgsearch.search_index SET capturing = false
WHERE schema_name = {schema_literal} AND name = {index_literal};
