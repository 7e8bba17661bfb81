-- Passages among which the nearest ones are looked for, to compare an encoder with its model.
SELECT {column}::real[]
FROM {chunk} TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (%(seed)s)
WHERE {column} IS NOT NULL
LIMIT %(limit)s
