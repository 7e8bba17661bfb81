-- The vector to look for rows that are like some others.
SELECT pgsearch.example(array_agg({embedding}))::text FROM {chunk} AS chunk WHERE ({chunk_key}) IN ({keys})
