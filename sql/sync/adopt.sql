-- The vectors that the source has for documents that have not changed since they were made. Read
-- together with the generation, for a new text may have a new vector.
SELECT wanted.ordinal, source.{adopt_column}::vector
FROM unnest({key_arrays}) WITH ORDINALITY AS wanted ({key}, ordinal)
JOIN {document} AS document ON ({document_key}) = ({wanted_key})
JOIN {current_table} AS source ON ({read_key}) = ({wanted_key})
WHERE document.generation <= %(generation)s
  AND vector_dims(source.{adopt_column}::vector) = %(dimensions)s
