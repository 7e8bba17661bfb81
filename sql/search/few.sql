-- The rows that the filter leaves, if they are few: then each of them is looked at. Counting ends
-- where they are too many. Without a filter they are those that row-level security leaves.
few AS MATERIALIZED (
  SELECT {key} FROM ({rows}) AS filter LIMIT {few_limit}
),
filtered AS MATERIALIZED (
  SELECT count(*) <= {few_rows} {and_hidden} AS are_few FROM few
),
