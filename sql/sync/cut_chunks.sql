-- Removes chunks: all of a deleted row's, the surplus of a shortened one's, those to be replaced.
DELETE FROM {chunk} WHERE ({key}) = ({key_values}) AND ordinal = ANY(%(ordinals)s)
