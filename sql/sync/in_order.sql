-- For statements that read the queue in its order and stop soon. Where much was deleted, or all but a
-- few rows are parked, the planner may prefer to read the whole of it.
SELECT
  set_config('enable_seqscan', 'off', true),
  set_config('enable_bitmapscan', 'off', true),
  set_config('jit', 'off', true)
