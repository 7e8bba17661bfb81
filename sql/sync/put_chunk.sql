-- Writes one chunk. What is there already has the same content, and keeps the vectors that it has
-- where no new one comes.
INSERT INTO {chunk} AS old ({key}, ordinal, content, content_hash, generation{columns})
VALUES ({key_values}, %(ordinal)s, %(content)s, %(content_hash)s, %(generation)s{column_values})
ON CONFLICT ({key}, ordinal) DO UPDATE SET generation = excluded.generation{column_updates}
