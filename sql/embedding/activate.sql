SELECT pgsearch.activate_embedding(
  {schema_literal}, {index_literal}, {embedding_literal}, {when_ready}
)
