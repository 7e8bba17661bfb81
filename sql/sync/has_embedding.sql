SELECT EXISTS (
  SELECT FROM pgsearch.embedding AS e JOIN pgsearch.search_index AS i ON i.id = e.search_index_id
  WHERE i.schema_name = {schema_literal} AND i.name = {index_literal} AND e.state <> 'retired'
)
