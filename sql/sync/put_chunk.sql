-- Writes one chunk. A vector that belongs to the same content stays where no new one comes.
INSERT INTO {chunk} AS old ({key}, ordinal, content, content_hash, generation{columns})
VALUES ({key_values}, %(ordinal)s, %(content)s, %(content_hash)s, %(generation)s{column_values})
ON CONFLICT ({key}, ordinal) DO UPDATE SET
  content = excluded.content,
  content_hash = excluded.content_hash,
  generation = excluded.generation{column_updates}
