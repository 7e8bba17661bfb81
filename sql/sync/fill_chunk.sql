-- Adds a vector to a chunk, if its content is still the one that was read.
UPDATE {chunk} SET {column} = %(vector)s
WHERE ({key}) = ({key_values}) AND ordinal = %(ordinal)s
  AND content_hash = %(content_hash)s AND {column} IS NULL
