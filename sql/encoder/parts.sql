SELECT pgsearch.encoder_parts(word) FROM unnest(%(words)s::text[]) WITH ORDINALITY AS given (word, place)
ORDER BY place
