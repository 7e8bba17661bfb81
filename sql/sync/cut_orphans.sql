-- Removes the documents of rows that are gone, unless they came back in the meantime.
DELETE FROM {document} AS document
USING unnest({key_arrays}, %(generations)b::bigint[]) AS gone ({key}, generation)
WHERE ({document_key}) = ({gone_key}) AND document.generation = gone.generation
