-- After the source table was truncated: removes chunks that no longer have a document.
DELETE FROM {chunk} AS chunk
WHERE NOT EXISTS (SELECT FROM {document} AS document WHERE ({document_key}) = ({chunk_key}))
