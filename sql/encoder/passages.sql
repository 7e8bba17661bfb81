-- Passages to learn from, each with a number for its document; of a large table a sample of its pages.
SELECT dense_rank() OVER (ORDER BY {key}) AS document, content
FROM (
  SELECT {key}, content FROM {chunk} TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (%(seed)s)
  WHERE {column} IS NOT NULL
  LIMIT %(limit)s
) AS drawn
