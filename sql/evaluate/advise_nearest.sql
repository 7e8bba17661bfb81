-- The nearest vectors of the sample by a look at each, and all that are as near as the last of them.
SELECT n FROM pg_temp.pgsearch_drawn
WHERE n > %(queries)s
ORDER BY embedding <=> %(vector)s::vector
FETCH FIRST %(k)s ROWS WITH TIES
