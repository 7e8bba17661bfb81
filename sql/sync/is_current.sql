-- Whether a search index still is what the worker knows of it.
SELECT capturing AND md5(definition::text) = %(version)s
FROM pgsearch.search_index WHERE schema_name = {schema_literal} AND name = {index_literal}
