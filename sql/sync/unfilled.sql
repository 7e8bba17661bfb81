-- The next chunks, by key, that lack an embedding. A key that waits in the queue, or is parked
-- there, is left to the queue.
SELECT {chunk_key_texts}, chunk.ordinal, chunk.content_hash, chunk.content, {is_single}
FROM {chunk} AS chunk
WHERE {column} IS NULL AND {after}
  AND NOT EXISTS (SELECT FROM {queue} AS queue WHERE ({queue_key}) = ({chunk_key}))
ORDER BY {chunk_key}, chunk.ordinal
LIMIT %(rows)s
