-- Whether a chunk lacks an embedding; of what is parked it may lack it for ever.
SELECT EXISTS (
  SELECT FROM {chunk} AS chunk
  WHERE {column} IS NULL
    AND NOT EXISTS (
      SELECT FROM {queue} AS queue
      WHERE ({queue_key}) = ({chunk_key}) AND queue.attempts > 0 AND queue.failed_at IS NOT NULL
    )
)
