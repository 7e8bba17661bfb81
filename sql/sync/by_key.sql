-- For statements about some hundreds of keys, however many rows the tables have: each key is looked
-- up in an index. Statistics that are older than a fill, or none yet, would have a small table read
-- as a whole, and would still have it read so when it is a large one.
SELECT
  set_config('enable_hashjoin', 'off', true),
  set_config('enable_mergejoin', 'off', true),
  set_config('jit', 'off', true),
  set_config('synchronous_commit', 'off', true)
