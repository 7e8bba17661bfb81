-- The words of texts, each text's in order: the very function that a search takes a query apart with.
SELECT pgsearch.encoder_words(text) FROM unnest(%(texts)s::text[]) WITH ORDINALITY AS given (text, place)
ORDER BY place
