-- Removes the chunks from an ordinal on: all of a deleted row's, the surplus of a shortened one's.
DELETE FROM {chunk} WHERE ({key}) = ({key_values}) AND ordinal >= %(ordinal)s
