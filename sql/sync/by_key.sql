-- For statements about some hundreds of keys, or of the rows at the head of a queue, however many rows
-- the tables have: all of them are looked up in an index. Statistics that are older than a fill, or
-- none yet, would have a small table read as a whole, and would still have it read so when it is a
-- large one; and those that autovacuum has taken of a queue in which next to nothing was left would
-- have all of it read for each batch, or even for each of its rows.
SELECT
  set_config('enable_seqscan', 'off', true),
  set_config('enable_bitmapscan', 'off', true),
  set_config('enable_hashjoin', 'off', true),
  set_config('enable_mergejoin', 'off', true),
  set_config('jit', 'off', true),
  set_config('synchronous_commit', 'off', true)
