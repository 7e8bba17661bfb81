-- Before what waits is taken for done although nothing is embedded: no embedding comes meanwhile.
SELECT FROM pgsearch.search_index
WHERE schema_name = {schema_literal} AND name = {index_literal}
FOR SHARE
