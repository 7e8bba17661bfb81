SELECT pgsearch.retire_embedding({schema_literal}, {index_literal}, {embedding_literal})
