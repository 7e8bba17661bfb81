-- The rows that the filter leaves, if they are few: then each of them is looked at. Counting ends
-- where they are too many.
few AS MATERIALIZED (
  SELECT {key} FROM ({rows}) AS filter LIMIT {few_rows} + 1
),
filtered AS MATERIALIZED (
  SELECT count(*) <= {few_rows} AS are_few FROM few
),
