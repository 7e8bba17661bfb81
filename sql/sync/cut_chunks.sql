-- Removes chunks: all of a deleted row's, the surplus of a shortened one's, those to be replaced.
DELETE FROM {chunk} AS chunk
USING unnest({key_arrays}, %(ordinals)b::integer[]) AS gone ({key}, ordinal)
WHERE ({chunk_key}) = ({gone_key}) AND chunk.ordinal = gone.ordinal
