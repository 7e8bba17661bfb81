-- Passages to learn from, each with its vector and a number for its document; of a large table a
-- sample of its pages.
SELECT dense_rank() OVER (ORDER BY {key}) AS document, content, array_send(vector)
FROM (
  SELECT {key}, content, {column}::real[] AS vector FROM {chunk} TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (%(seed)s)
  WHERE {column} IS NOT NULL
  LIMIT %(limit)s
) AS drawn
