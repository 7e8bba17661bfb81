-- The newest fresh change when all documents were written; set once.
UPDATE pgsearch.embedding
SET fill_watermark = coalesce(fill_watermark, (
  SELECT coalesce(max(queue_id), 0) FROM {queue} WHERE queue_id < 4611686018427387904
))
WHERE id = %(id)s
RETURNING fill_watermark
