-- The spread of the similarity of random chunks, from up to 1,000 pairs, in about the time of
-- reading their rows. NULL where there are too few to tell.
WITH sample AS MATERIALIZED (
  SELECT embedding, row_number() OVER (ORDER BY place) AS n, count(*) OVER () AS size
  FROM (
    SELECT {column} AS embedding, random() AS place
    FROM {chunk} TABLESAMPLE BERNOULLI (%(percent)s)
    WHERE {column} IS NOT NULL
    LIMIT 2000
  ) AS drawn
)
SELECT CASE WHEN count(*) >= 30 THEN stddev_samp(1 - (a.embedding <=> b.embedding)) END
FROM sample AS a
JOIN sample AS b ON b.n = a.n + a.size / 2
WHERE a.n <= a.size / 2
