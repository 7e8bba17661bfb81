-- What the index was built with.
UPDATE pgsearch.embedding AS e SET m = {m}, ef_construction = {ef_construction}
FROM pgsearch.search_index AS i
WHERE i.id = e.search_index_id AND i.schema_name = {schema_literal} AND i.name = {index_literal}
  AND e.name = {embedding_literal};
