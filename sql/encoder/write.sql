-- Notes an encoder whose tokens were written in the same transaction.
INSERT INTO pgsearch.encoder AS e
  (embedding_id, version, built_at, generation, documents, at_least, tokens, fidelity)
VALUES
  (%(id)s, 1, clock_timestamp(), %(generation)s, %(documents)s, %(at_least)s, %(tokens)s, %(fidelity)s)
ON CONFLICT (embedding_id) DO UPDATE SET
  version = e.version + 1,
  is_wanted = true,
  leased_until = NULL,
  built_at = excluded.built_at,
  generation = excluded.generation,
  documents = excluded.documents,
  at_least = excluded.at_least,
  tokens = excluded.tokens,
  fidelity = excluded.fidelity
RETURNING version
