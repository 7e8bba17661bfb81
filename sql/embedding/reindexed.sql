-- The new index takes the old one's name, and the registry notes what it was built with.
-- squawk-ignore renaming-object
ALTER INDEX IF EXISTS {new_hnsw_index} RENAME TO {hnsw_index_name};

UPDATE pgsearch.embedding AS e SET m = {m}, ef_construction = {ef_construction}
FROM pgsearch.search_index AS i
WHERE i.id = e.search_index_id AND i.schema_name = {schema_literal} AND i.name = {index_literal}
  AND e.name = {embedding_literal};
