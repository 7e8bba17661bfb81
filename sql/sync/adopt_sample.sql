-- Texts and vectors of random rows that have not changed since the vectors were made. Rows without
-- a document have not been filled yet, and are as they were. The limit is for a table that was
-- never analysed, whose size nobody knows.
SELECT (drawn.entry).texts, drawn.vector
FROM (
  SELECT {read}(source.*) AS entry, source.{adopt_column}::vector AS vector
  FROM {current_table} AS source TABLESAMPLE SYSTEM ((
    SELECT least(100, 100 * 300 / greatest(reltuples, 1))
    FROM pg_catalog.pg_class WHERE oid = pgsearch.source_table({schema_literal}, {index_literal})
  ))
  WHERE vector_dims(source.{adopt_column}::vector) = %(dimensions)s
  LIMIT 1000
) AS drawn
LEFT JOIN {document} AS document ON ({document_key}) = ({drawn_key})
WHERE coalesce(document.generation, 0) <= %(generation)s
ORDER BY random()
