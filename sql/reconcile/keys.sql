-- The next keys in their order, of rows, documents and chunks alike: so those are seen, too, of
-- which only one of the three is there. Each list is cut at so many as are asked for, and so is the
-- whole: no key is missing up to the last one.
WITH source AS MATERIALIZED (
  SELECT {source_key} FROM {source_view} AS source
  WHERE {after_source} ORDER BY {source_key} LIMIT %(rows)s
),
document AS MATERIALIZED (
  SELECT {document_key} FROM {document} AS document
  WHERE {after_document} ORDER BY {document_key} LIMIT %(rows)s
),
chunk AS MATERIALIZED (
  SELECT DISTINCT {chunk_key} FROM {chunk} AS chunk
  WHERE {after_chunk} ORDER BY {chunk_key} LIMIT %(rows)s
)
SELECT {seen_key_texts}
FROM (
  SELECT {key} FROM document UNION SELECT {key} FROM chunk UNION SELECT {key} FROM source
) AS seen
ORDER BY {seen_key}
LIMIT %(rows)s
