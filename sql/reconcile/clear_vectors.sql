-- Takes wrong vectors away, and asks for new ones: those far from what the model makes of their
-- content, or all zeros where the model was not asked. All chunks of one content at once, for a
-- worker takes over the vector of an equal one.
WITH cleared AS (
  UPDATE {chunk} AS chunk SET {column} = NULL
  FROM unnest(%(hashes)s::bytea[], %(vectors)s::vector[]) AS wanted (content_hash, vector)
  WHERE chunk.content_hash = wanted.content_hash
    AND CASE WHEN wanted.vector IS NULL THEN vector_norm(chunk.{column}::vector) = 0
             ELSE chunk.{column} <=> wanted.vector > %(distance)s END
  RETURNING {chunk_key}
),
asked AS MATERIALIZED (SELECT DISTINCT {key} FROM cleared),
queued AS (
  INSERT INTO {queue} (queue_id, {key}) OVERRIDING SYSTEM VALUE
  SELECT pgsearch.backfill_id(pg_get_serial_sequence({queue_name}, 'queue_id')), {key} FROM asked
)
SELECT count(*) FROM asked
