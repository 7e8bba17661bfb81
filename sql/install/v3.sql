-- pgsearch, version 3: backfills behind fresh changes, in one queue; reconciliation; cheaper writes.

ALTER TABLE pgsearch.search_index
  -- While it is suspended: by table and trigger, whether it fired for what is replicated.
  ADD COLUMN replicated jsonb,
  -- When the fill that runs, or ran last, began, and over how many rows it has gone.
  ADD COLUMN fill_started_at timestamptz,
  ADD COLUMN fill_rows bigint NOT NULL DEFAULT 0;

ALTER TABLE pgsearch.embedding
  -- The fill of an added embedding: the last key that was put into the queue, then the time when
  -- the last one was.
  ADD COLUMN fill_key jsonb,
  ADD COLUMN filled_at timestamptz,
  ADD COLUMN fill_started_at timestamptz,
  -- What a million tokens cost at the model's provider, to tell what a fill costs.
  ADD COLUMN token_price double precision,
  -- What its column is of, and what its HNSW graph holds: the same, or less, by which nearest
  -- ones are found and then ranked by the column's vectors.
  ADD COLUMN vector_type text NOT NULL DEFAULT 'vector' CHECK (vector_type IN ('vector', 'halfvec')),
  ADD COLUMN index_type text NOT NULL DEFAULT 'vector'
    CHECK (index_type IN ('vector', 'halfvec', 'bit'));

-- A graph of less than vectors takes longer ones. The table has a row for each embedding: a handful.
-- squawk-ignore ban-drop-constraint
ALTER TABLE pgsearch.embedding DROP CONSTRAINT embedding_dimensions_check;
ALTER TABLE pgsearch.embedding
  -- squawk-ignore constraint-missing-not-valid
  ADD CONSTRAINT embedding_dimensions_check CHECK (dimensions BETWEEN 1 AND 16000);

-- The first embedding of a search index was always filled by the queue.
UPDATE pgsearch.embedding SET filled_at = clock_timestamp() WHERE state <> 'filling';


-- How far a reconciliation has come: the last key that was compared, and what was found.
CREATE TABLE pgsearch.reconciliation (
  search_index_id integer     PRIMARY KEY REFERENCES pgsearch.search_index ON DELETE CASCADE,
  -- Which vectors are made anew and compared: a sample, all, or none.
  vectors         text        NOT NULL,
  after_key       jsonb,
  compared        bigint      NOT NULL DEFAULT 0,
  found           jsonb       NOT NULL DEFAULT '{}',
  started_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE pgsearch.reconciliation IS 'Reconciliations that have not come to their end';


-- A document's tsvector, from its text columns in order, that cannot fail.
--
-- to_tsvector raises an error above 1 MB of lexemes, and a trigger must never make the
-- application's write fail. So long text is cut between words, into pieces too short to reach it,
-- for as long as the sum of the parts, which bounds the whole, stays below it; what is left out
-- of the keyword index is marked by `truncated`. A subtransaction per row would cost more.
CREATE OR REPLACE FUNCTION pgsearch.document_tsvector(
  config regconfig, texts text[], weights "char"[],
  OUT tsv tsvector, OUT truncated boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  piece_length CONSTANT integer := 50000;
  room CONSTANT integer := 1000000;
  -- Pieces are taken from a block, for finding a place in a long text takes as long as the text.
  block_length CONSTANT integer := 1000000;
  block text;
  block_start integer;
  start integer;
  part text;
  piece tsvector;
BEGIN
  tsv := '';
  truncated := false;
  -- Together they are no longer than one piece, as texts mostly are.
  IF octet_length(array_to_string(texts, '')) < piece_length THEN
    FOR i IN 1 .. cardinality(texts) LOOP
      tsv := tsv || setweight(to_tsvector(config, coalesce(texts[i], '')), weights[i]);
    END LOOP;
    RETURN;
  END IF;
  FOR i IN 1 .. cardinality(texts) LOOP
    block_start := 1;
    block := left(texts[i], block_length);
    start := 1;
    LOOP
      IF start > block_length - piece_length THEN
        block_start := block_start + start - 1;
        block := substr(texts[i], block_start, block_length);
        start := 1;
      END IF;
      part := substr(block, start, piece_length);
      EXIT WHEN part IS NULL OR part = '';
      IF length(part) = piece_length THEN
        part := coalesce(substring(part FROM '^.*[[:space:]]'), part);
      END IF;
      start := start + length(part);
      piece := setweight(to_tsvector(config, part), weights[i]);
      IF pg_column_size(tsv) + pg_column_size(piece) > room THEN
        truncated := true;
        RETURN;
      END IF;
      tsv := tsv || piece;
    END LOOP;
  END LOOP;
END
$$;


-- The number of tokens in a tsvector: the length that BM25 knows.
--
-- ts_rank divides by it where it is asked to (2), so it is the quotient of two ranks, exactly, at a
-- fiftieth of the time that unnest(tsv) takes. What is asked for are two words of blanks, which no
-- parser makes: for a query with AND ts_rank is never 0, save for an empty document.
CREATE OR REPLACE FUNCTION pgsearch.token_count(tsv tsvector) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(round(
  ts_rank(tsv, $$' ' & '  '$$::tsquery, 0)::double precision
  / nullif(ts_rank(tsv, $$' ' & '  '$$::tsquery, 2), 0)
), 0)::integer;


-- The number of a queue row that may wait until no fresh change does: from 2^62 on.
CREATE FUNCTION pgsearch.backfill_id(queue regclass) RETURNS bigint
LANGUAGE sql VOLATILE STRICT
RETURN 4611686018427387904 + nextval(queue);


-- Wakes the workers that listen, once for each transaction.
CREATE FUNCTION pgsearch.notify() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_notify('pgsearch', '');
  RETURN NULL;
END
$$;


INSERT INTO pgsearch.installation (version) VALUES (3);


-- The words of a query as it is written for websearch_to_tsquery: quoted phrases and single words,
-- in alternatives between which there stands an unquoted "or".
CREATE FUNCTION pgsearch.query_words(query text)
RETURNS TABLE (word text, place bigint, alternative bigint, is_condition boolean)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT asked.word, asked.place, asked.alternative, asked.word ~ '^(-[^"]|-?"[^"])'
  FROM (
    SELECT
      part[1] AS word, part.ordinality AS place,
      count(*) FILTER (WHERE lower(part[1]) = 'or') OVER (ORDER BY part.ordinality) AS alternative
    FROM regexp_matches(query, '(-?"[^"]*"|\S+)', 'g') WITH ORDINALITY AS part (part)
  ) AS asked
  WHERE lower(asked.word) <> 'or'
$$;


-- The part of a query that is a condition: quoted phrases and words with a minus sign. One of stop
-- words only is no condition, and not one that nothing meets. Of several alternatives each has to
-- have one, or what meets the others need meet none.
CREATE OR REPLACE FUNCTION pgsearch.query_condition(config regconfig, query text) RETURNS tsquery
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN (
  SELECT CASE WHEN bool_and(numnode(condition) > 0)
    THEN string_agg('(' || condition::text || ')', ' | ')::tsquery END
  FROM (
    SELECT websearch_to_tsquery(config, coalesce(
      string_agg(words.word, ' ' ORDER BY words.place) FILTER (WHERE words.is_condition), ''
    )) AS condition
    FROM pgsearch.query_words(query) AS words
    GROUP BY words.alternative
  ) AS asked
);


-- The lexemes that a query asks for, those behind a minus sign left out.
CREATE OR REPLACE FUNCTION pgsearch.query_lexemes(config regconfig, query text) RETURNS text[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN (
  SELECT tsvector_to_array(to_tsvector(config, coalesce(
    string_agg(words.word, ' ' ORDER BY words.place), '')))
  FROM pgsearch.query_words(query) AS words
  WHERE NOT (words.is_condition AND words.word LIKE '-%')
);


-- Refuses a request that cannot be answered, and says what to ask instead.
CREATE FUNCTION pgsearch.check_search(
  query text, k integer, mode text, skip integer, ef_search integer, fusion text,
  keyword_weight double precision, has_vector boolean
) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  IF mode IS NULL OR mode NOT IN ('hybrid', 'keyword', 'vector') THEN
    RAISE EXCEPTION 'pgsearch: mode is %, there are hybrid, keyword and vector', coalesce(quote_literal(mode), 'NULL')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for hybrid.';
  END IF;
  IF (query IS NULL OR query !~ '[^[:space:]]') AND NOT (mode = 'vector' AND has_vector) THEN
    RAISE EXCEPTION 'pgsearch: the query is empty'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Pass at least one word, or a vector and mode => ''vector''.';
  END IF;
  IF length(query) > 8192 THEN
    RAISE EXCEPTION 'pgsearch: the query is % characters long, at most 8192 are answered', length(query)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the words or sentences that matter.';
  END IF;
  IF k IS NULL OR k NOT BETWEEN 1 AND 1000 THEN
    RAISE EXCEPTION 'pgsearch: k is %, it must lie between 1 and 1000', coalesce(k::text, 'NULL')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Ask for the best few, as in k => 10.';
  END IF;
  IF skip IS NULL OR skip NOT BETWEEN 0 AND 1000 - k THEN
    RAISE EXCEPTION 'pgsearch: skip is %, it must lie between 0 and %, for the first 1000 results are to be had',
        coalesce(skip::text, 'NULL'), 1000 - k
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Ask another question, or with a filter.';
  END IF;
  IF ef_search NOT BETWEEN 1 AND 1000 THEN
    RAISE EXCEPTION 'pgsearch: ef_search is %, it must lie between 1 and 1000', ef_search
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out to have it chosen by k.';
  END IF;
  IF fusion IS NULL OR fusion NOT IN ('exact', 'rrf') THEN
    RAISE EXCEPTION 'pgsearch: fusion is %, there are exact and rrf', coalesce(quote_literal(fusion), 'NULL')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for exact.';
  END IF;
  -- NaN is greater than everything.
  IF NOT (keyword_weight >= 0 AND keyword_weight < 'Infinity') THEN
    RAISE EXCEPTION 'pgsearch: keyword_weight is %, it must be a number from 0', keyword_weight
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for 4, or 1 with ranks.';
  END IF;
END
$$;


-- Refuses a query's vector that is not the embedding's.
CREATE FUNCTION pgsearch.check_vector(
  dimensions integer, norm double precision, mode text, embedding text, expected integer
) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  IF mode = 'vector' AND (dimensions IS NULL OR embedding IS NULL) THEN
    RAISE EXCEPTION 'pgsearch: mode vector needs %', CASE WHEN dimensions IS NULL
        THEN 'the query''s vector' ELSE 'an active embedding' END
      USING ERRCODE = 'invalid_parameter_value', HINT = CASE WHEN dimensions IS NULL
        THEN 'Run `pgsearch distill`, or pass vector => ''[...]'' made by the model of the embedding.'
        ELSE 'Run `pgsearch sync`; until an embedding is active, keywords answer.' END;
  END IF;
  IF dimensions <> expected THEN
    RAISE EXCEPTION 'pgsearch: the query''s vector has % dimensions, embedding % has %',
        dimensions, quote_literal(embedding), expected
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Make it with the model of that embedding.';
  END IF;
  IF norm = 0 THEN
    RAISE EXCEPTION 'pgsearch: the query''s vector is all zeros, which is similar to nothing'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Make it with the model of the embedding.';
  END IF;
END
$$;


-- Sets how an HNSW index is scanned, until the transaction ends or end_scan puts back what it
-- returns: what the caller had set.
CREATE FUNCTION pgsearch.begin_scan(ef_search integer, iterative text DEFAULT 'relaxed_order')
RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
  before text[] := ARRAY[
    current_setting('hnsw.ef_search', true),
    current_setting('hnsw.iterative_scan', true),
    current_setting('hnsw.max_scan_tuples', true),
    current_setting('hnsw.scan_mem_multiplier', true)
  ];
BEGIN
  PERFORM pgsearch.end_scan(ARRAY[least(ef_search, 1000)::text, iterative, '100000', '8']);
  RETURN before;
END
$$;


CREATE FUNCTION pgsearch.end_scan(settings text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('hnsw.ef_search', settings[1], true),
          set_config('hnsw.iterative_scan', settings[2], true),
          set_config('hnsw.max_scan_tuples', settings[3], true),
          set_config('hnsw.scan_mem_multiplier', settings[4], true);
END
$$;


-- The columns of a table that a view reads, by their numbers.
CREATE FUNCTION pgsearch.columns_read(view regclass, source regclass) RETURNS smallint[]
LANGUAGE sql STABLE STRICT
RETURN (
  SELECT array_agg(d.refobjsubid::smallint ORDER BY d.refobjsubid)
  FROM pg_catalog.pg_rewrite AS r
  JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
  WHERE r.ev_class = columns_read.view AND d.refobjid = columns_read.source AND d.refobjsubid > 0
);


-- The part of a passage that holds most of a query's words, which are put between <b> and </b>.
CREATE FUNCTION pgsearch.snippet(config regconfig, passage text, query text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN ts_headline(config, passage, coalesce((
  SELECT string_agg(pgsearch.lexeme_query(asked.lexeme)::text, ' | ')::tsquery
  FROM unnest(pgsearch.query_lexemes(config, query)) AS asked (lexeme)
), ''));


-- Counts in how many documents each lexeme is, one by one, and takes that for the statistics until
-- they are taken anew. It reads all of the search index's documents. Returns how many lexemes are
-- common enough to be kept: those in fewer documents are counted when they are asked for.
CREATE FUNCTION pgsearch.count_lexemes(
  schema_name text, index_name text, at_least integer DEFAULT 10
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  document text := format('%I.%I', schema_name, index_name || '_document');
  kept bigint;
BEGIN
  EXECUTE format('DELETE FROM %I.%I', schema_name, index_name || '_lexeme');
  EXECUTE format(
    'INSERT INTO %I.%I (lexeme, document_count)'
    ' SELECT word, ndoc FROM ts_stat(%L) WHERE ndoc >= $1',
    schema_name, index_name || '_lexeme', 'SELECT tsv FROM ' || document) USING at_least;
  GET DIAGNOSTICS kept = ROW_COUNT;
  EXECUTE format(
    'UPDATE pgsearch.search_index SET (document_count, mean_length) = ('
    '   SELECT count(*), avg(length) FROM %s WHERE length >= 0),'
    ' statistics_generation = (SELECT last_value FROM %I.%I),'
    ' statistics_at = clock_timestamp()'
    ' WHERE (schema_name, name) = ($1, $2)', document, schema_name, index_name || '_generation')
    USING schema_name, index_name;
  RETURN kept;
END
$$;


-- What a search has to know of the embedding that answers: the active one, or the one that is named;
-- all NULL where there is none, or it is not ready, unless one has to be. It is read for each
-- search, so without what takes long to read, as a fingerprint does. What its graph holds is `coarse`
-- where that is less than the column does. Of a text that is asked alone, a canary may choose another
-- than the active one.
CREATE FUNCTION pgsearch.answering(
  schema_name text, index_name text, embedding text, is_required boolean DEFAULT true,
  asked text DEFAULT NULL,
  OUT id integer, OUT name text, OUT column_name text, OUT dimensions integer,
  OUT similarity_stddev double precision, OUT documents bigint, OUT has_encoder boolean,
  OUT coarse text
)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_column
DECLARE
  state text;
BEGIN
  IF answering.embedding IS NULL AND asked IS NOT NULL THEN
    embedding := pgsearch.canary_embedding(schema_name, index_name, asked, true);
  END IF;
  SELECT e.id, e.name, e.column_name, e.dimensions, e.similarity_stddev, i.document_count,
    EXISTS (SELECT FROM pgsearch.encoder AS n WHERE n.embedding_id = e.id AND n.tokens > 0),
    nullif(e.index_type, e.vector_type), e.state
  INTO answering.id, answering.name, answering.column_name, answering.dimensions,
    answering.similarity_stddev, answering.documents, answering.has_encoder,
    answering.coarse, state
  FROM pgsearch.embedding AS e
  JOIN pgsearch.search_index AS i ON i.id = e.search_index_id
  WHERE i.schema_name = answering.schema_name
    AND i.name = answering.index_name
    AND CASE WHEN answering.embedding IS NULL
          THEN e.state = 'active' ELSE e.name = answering.embedding END;
  IF answering.embedding IS NOT NULL AND is_required AND coalesce(state, '') NOT IN ('ready', 'active') THEN
    RAISE EXCEPTION 'pgsearch: embedding % of search index % cannot answer: it %',
        quote_literal(answering.embedding), quote_ident(answering.index_name),
        coalesce('is ' || state, 'does not exist')
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'See `pgsearch status`; `pgsearch sync` makes an embedding ready.';
  END IF;
  IF state NOT IN ('ready', 'active') THEN
    answering.id := NULL;
    answering.name := NULL;
    answering.column_name := NULL;
    answering.dimensions := NULL;
    answering.similarity_stddev := NULL;
    answering.has_encoder := NULL;
    answering.coarse := NULL;
  END IF;
END
$$;


-- How often a term is in a tsvector, in positions of the weights that count; those must come before
-- the others. See pgsearch.term_frequency(tsvector, tsquery).
CREATE FUNCTION pgsearch.term_frequency(tsv tsvector, term tsquery, counting real[])
RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN round(1 / (1.6449340668482264 * (1 - ts_rank(counting, tsv, term, 0))) - 0.5);


-- What a term adds to a document's score, without BM25's constant factor k1 + 1.
CREATE FUNCTION pgsearch.bm25(
  frequency double precision, idf double precision, relative_length double precision,
  k1 double precision, b double precision
) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN frequency > 0
  THEN idf * frequency / (frequency + k1 * (1 - b + b * relative_length)) ELSE 0 END;


-- Candidates that a scan of an HNSW index keeps, unless a search says how many: the more documents
-- there are, the more it takes to find the nearest of them, and twice as many where a filter passes
-- over some.
CREATE FUNCTION pgsearch.usual_ef_search(documents bigint, chunks integer, is_filtered boolean)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(
  greatest(300, chunks, round(300 * power(coalesce(documents, 0) / 200000.0, 0.4)))
    * CASE WHEN is_filtered THEN 2 ELSE 1 END,
  1000)::integer;


-- How many rows that a filter leaves are few: to look at each takes less time than a scan of the HNSW
-- index that passes over the others, which takes the longer the more there are.
CREATE FUNCTION pgsearch.few_rows(documents bigint, at_least integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN round(at_least * greatest(1, power(coalesce(documents, 0) / 200000.0, 2 / 3.0)))::integer;


-- What SQLAlchemy's statements ask of pgvector, whatever the caller's search_path: here its names are
-- looked up once. PostgreSQL puts the operator in for the first one, so that the HNSW index serves it.
CREATE FUNCTION pgsearch.distance(a vector, b vector) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN a <=> b;


CREATE FUNCTION pgsearch.distance(a halfvec, b vector) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN a <=> b;


-- How far vectors are by what a coarse graph holds of them: the casts that its HNSW index is over, with
-- the dimensions of it, for a type's own cannot be a parameter.
CREATE FUNCTION pgsearch.half_distance(a vector, b vector, dimensions integer)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN vector_to_halfvec(a, dimensions, true) <=> vector_to_halfvec(b, dimensions, true);


CREATE FUNCTION pgsearch.bit_distance(a vector, b vector, dimensions integer)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN "bit"(binary_quantize(a), dimensions, true) <~> "bit"(binary_quantize(b), dimensions, true);


CREATE FUNCTION pgsearch.bit_distance(a halfvec, b vector, dimensions integer)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN "bit"(binary_quantize(a), dimensions, true) <~> "bit"(binary_quantize(b), dimensions, true);


-- The same in a statement that is put together for one search: the expression of the HNSW index
-- beside that of the query's vector.
CREATE FUNCTION pgsearch.graph_distance(
  stored text, vector text, held text, dimensions integer
) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN format(CASE held
  WHEN 'bit' THEN 'binary_quantize(%1$s)::bit(%3$s) <~> binary_quantize(%2$s)::bit(%3$s)'
  ELSE '%1$s::halfvec(%3$s) <=> %2$s::halfvec(%3$s)' END, stored, vector, dimensions);


-- A vector as it can be compared, of length 1 where it is very long or short: only its direction
-- counts, but in half precision numbers above 65504 are an error, and the smallest are zero.
CREATE FUNCTION pgsearch.comparable(given vector) RETURNS vector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN vector_norm(given) BETWEEN 0.1 AND 1000 THEN given ELSE l2_normalize(given) END;


CREATE FUNCTION pgsearch.to_vector(given text) RETURNS vector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN pgsearch.comparable(given::vector);


-- What is like some vectors and unlike others: the mean of those, moved away from the mean of these.
CREATE FUNCTION pgsearch.example(likes vector[], unlikes vector[] DEFAULT NULL) RETURNS vector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
  SELECT coalesce(liked.mean + liked.mean - unliked.mean, liked.mean)
  FROM
    (SELECT avg(given.vector) AS mean FROM unnest(likes) AS given (vector)) AS liked,
    (SELECT avg(given.vector) AS mean FROM unnest(unlikes) AS given (vector)) AS unliked
);


-- The same of a column of halfvec.
CREATE FUNCTION pgsearch.example(likes halfvec[], unlikes halfvec[] DEFAULT NULL) RETURNS vector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pgsearch.example(likes::vector[], unlikes::vector[]);


-- An embedding of a search index, both held until the transaction ends; the registry's rows in the
-- order in which all take them. A search index is held so that who logs a search, whose foreign key
-- refers to it, does not wait, and is not waited for.
CREATE FUNCTION pgsearch.hold_embedding(schema_name text, index_name text, embedding text)
RETURNS pgsearch.embedding
LANGUAGE plpgsql AS $$
DECLARE
  index_id integer;
  found pgsearch.embedding;
BEGIN
  SELECT i.id INTO index_id FROM pgsearch.search_index AS i
  WHERE i.schema_name = hold_embedding.schema_name AND i.name = hold_embedding.index_name
  FOR NO KEY UPDATE;
  SELECT e.* INTO found FROM pgsearch.embedding AS e
  WHERE e.search_index_id = index_id AND e.name = hold_embedding.embedding
  FOR UPDATE;
  IF found.id IS NULL THEN
    RAISE EXCEPTION 'pgsearch: search index % has no embedding %',
        quote_ident(index_name), quote_literal(embedding)
      USING ERRCODE = 'undefined_object', HINT = coalesce(
        'It has ' || (SELECT string_agg(e.name, ', ' ORDER BY e.id) FROM pgsearch.embedding AS e
                      WHERE e.search_index_id = index_id) || '.',
        'Add one with op.add_embedding().');
  END IF;
  RETURN found;
END
$$;


-- Whether passages are cut in the tokens of an embedding's model and not in those of any other live
-- one: it is the oldest, and the next has another model. In how many dimensions, is all the same.
CREATE FUNCTION pgsearch.has_cut(asked pgsearch.embedding) RETURNS boolean
LANGUAGE sql STABLE
RETURN EXISTS (
  SELECT FROM (
    SELECT e.id, e.model FROM pgsearch.embedding AS e
    WHERE e.search_index_id = (asked).search_index_id AND e.state <> 'retired' AND e.id <> (asked).id
    ORDER BY e.id LIMIT 1
  ) AS next
  WHERE next.id > (asked).id AND next.model - 'dimensions' <> (asked).model - 'dimensions'
);


-- From here on nobody keeps an embedding up to date, and no search may ask for it. Its vectors and
-- its HNSW index stay until it is dropped, or restored: what changes meanwhile loses its vector.
CREATE FUNCTION pgsearch.retire_embedding(schema_name text, index_name text, embedding text)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  found pgsearch.embedding := pgsearch.hold_embedding(schema_name, index_name, embedding);
BEGIN
  IF found.state = 'retired' THEN
    RETURN;
  END IF;
  IF found.state = 'active' THEN
    RAISE EXCEPTION 'pgsearch: embedding % of search index % answers queries and cannot be retired',
        quote_literal(embedding), quote_ident(index_name)
      USING ERRCODE = 'object_in_use',
            HINT = 'Activate another one first, or use op.deactivate_embedding: then keywords answer.';
  END IF;
  UPDATE pgsearch.embedding SET state = 'retired', activate_when_ready = false WHERE id = found.id;
  DELETE FROM pgsearch.canary WHERE embedding_id = found.id;
  UPDATE pgsearch.search_index SET refill_chunks = true, fill_key = NULL, filled_at = NULL
  WHERE id = found.search_index_id AND pgsearch.has_cut(found);
  INSERT INTO pgsearch.event (search_index_id, embedding, kind)
  VALUES (found.search_index_id, found.name, 'retired');
END
$$;


-- The reverse: workers fill what a retired embedding lacks, and it is ready again.
CREATE FUNCTION pgsearch.restore_embedding(schema_name text, index_name text, embedding text)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  found pgsearch.embedding := pgsearch.hold_embedding(schema_name, index_name, embedding);
BEGIN
  IF found.state <> 'retired' THEN
    RETURN;
  END IF;
  UPDATE pgsearch.embedding
  SET state = 'filling', fill_key = NULL, filled_at = NULL, fill_started_at = NULL,
      fill_watermark = NULL, ready_at = NULL
  WHERE id = found.id;
  -- Also where there was no other one: nothing was cut into passages then.
  UPDATE pgsearch.search_index AS i SET refill_chunks = true, fill_key = NULL, filled_at = NULL
  WHERE i.id = found.search_index_id AND (pgsearch.has_cut(found) OR NOT EXISTS (
    SELECT FROM pgsearch.embedding AS e
    WHERE e.search_index_id = i.id AND e.state <> 'retired' AND e.id <> found.id));
  INSERT INTO pgsearch.event (search_index_id, embedding, kind)
  VALUES (found.search_index_id, found.name, 'restored');
END
$$;


-- What makes a query's vector in the database: one for each embedding that has one. The vectors of its
-- tokens are beside the search index's other tables.
CREATE TABLE pgsearch.encoder (
  embedding_id  integer     PRIMARY KEY REFERENCES pgsearch.embedding ON DELETE CASCADE,
  -- How often it was built.
  version       integer     NOT NULL DEFAULT 0,
  -- False: workers are to leave it alone.
  is_wanted     boolean     NOT NULL DEFAULT true,
  -- Until when a worker is building it; another one may begin after that.
  leased_until  timestamptz,
  built_at      timestamptz,
  -- The newest document when its texts were read, and how many there were.
  generation    bigint      NOT NULL DEFAULT 0,
  documents     bigint      NOT NULL DEFAULT 0,
  -- Words in fewer documents are not in it.
  at_least      integer     NOT NULL DEFAULT 1,
  tokens        integer     NOT NULL DEFAULT 0,
  -- How near its vectors are to the model's, on texts that it was not trained on.
  fidelity      jsonb
);
COMMENT ON TABLE pgsearch.encoder IS 'What makes a query''s vector in the database, by embedding';

GRANT SELECT ON pgsearch.encoder TO PUBLIC;


-- The words of a query, or of a text that an encoder learns from, in order: without case, accents and
-- punctuation, camelCase taken apart, each CJK character alone and with its neighbour, a symbol or an
-- emoji alone. An encoder is trained on what this function gives, and asked with it.
--
-- Characters are named by their numbers, for what a class such as [[:alpha:]] holds is another thing in
-- each collation.
CREATE FUNCTION pgsearch.encoder_words(query text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  folded text := query;
  words text[];
BEGIN
  IF folded ~ '[a-z][A-Z]' THEN
    folded := regexp_replace(folded, '([a-z0-9])([A-Z])', '\1 \2', 'g');
  END IF;
  IF octet_length(folded) = length(folded) THEN
    RETURN (
      SELECT coalesce(array_agg(left(part[1], 64)), '{}')
      FROM regexp_matches(lower(folded), '[a-z0-9]+(?:\+\+|#)?', 'g') AS part
    );
  END IF;
  IF getdatabaseencoding() = 'UTF8' THEN
    folded := normalize(regexp_replace(normalize(folded, NFKD), '[\u0300-\u036f]', '', 'g'), NFC);
  END IF;
  RETURN (
    SELECT coalesce(array_agg(CASE WHEN part[2] IS NULL THEN left(part[1], 64) ELSE piece END
                              ORDER BY part.place, piece_size, piece_place), '{}')
    FROM regexp_matches(
      lower(folded),
      '([a-z0-9]+(?:\+\+|#)|[^\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b4'
      '\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965'
      '\u2000-\u31bf\u3200-\u9fff\ue000-\ufaff\ufe00-\ufe4f\ufeff\uff00-\uffef'
      '\U0001f000-\U0001faff\U00020000-\U0010ffff]+'
      '|[\u20a0-\u20bf\u2190-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff])'
      '|([\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u30ff\u3100-\u318f\u31a0-\u31bf'
      '\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)',
      'g') WITH ORDINALITY AS part (part, place)
    LEFT JOIN LATERAL (
      SELECT size, at, substr(part[2], at, size)
      FROM generate_series(1, 2) AS size, generate_series(1, length(part[2]) + 1 - size) AS at
    ) AS cut (piece_size, piece_place, piece) ON true
  );
END
$$;


-- The parts of a word, by which one is known that is in no text: 3 to 6 characters of it, with a mark
-- where it begins and ends.
CREATE FUNCTION pgsearch.encoder_parts(word text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
  SELECT coalesce(array_agg(DISTINCT '#' || substr('<' || word || '>', place, size)), '{}')
  FROM generate_series(3, 6) AS size,
       generate_series(1, length(word) + 3 - size) AS place
);


-- A candidate that answers a share of a search index's queries for a while.
CREATE TABLE pgsearch.canary (
  search_index_id integer          PRIMARY KEY REFERENCES pgsearch.search_index ON DELETE CASCADE,
  embedding_id    integer          NOT NULL REFERENCES pgsearch.embedding ON DELETE CASCADE,
  share           double precision NOT NULL CHECK (share > 0 AND share <= 1),
  started_at      timestamptz      NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE pgsearch.canary IS 'Which embedding answers a share of the queries, for a while';
GRANT SELECT ON pgsearch.canary TO PUBLIC;

-- Searches that an application has logged, and what came of them. Who searches may add to them, but
-- read none: what somebody asks is nobody else's business.
CREATE TABLE pgsearch.search_log (
  id              uuid             PRIMARY KEY,
  search_index_id integer          NOT NULL REFERENCES pgsearch.search_index ON DELETE CASCADE,
  asked_at        timestamptz      NOT NULL DEFAULT clock_timestamp(),
  query           text             NOT NULL,
  -- The name of the one that answered; NULL where keywords did alone.
  embedding       text,
  -- The keys of what was shown, best first; a key of several columns is an array.
  documents       jsonb            NOT NULL CHECK (jsonb_typeof(documents) = 'array'),
  -- NaN is greater than everything.
  took_ms         double precision CHECK (took_ms >= 0 AND took_ms < 'Infinity')
);
COMMENT ON TABLE pgsearch.search_log IS 'Searches that were logged, with the embedding that answered';
CREATE INDEX search_log_asked_at ON pgsearch.search_log (search_index_id, asked_at);

CREATE TABLE pgsearch.search_outcome (
  id        bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  search_id uuid             NOT NULL REFERENCES pgsearch.search_log ON DELETE CASCADE,
  at        timestamptz      NOT NULL DEFAULT clock_timestamp(),
  -- The key of the document that was chosen; NULL where it is said of the whole answer.
  document  jsonb,
  value     double precision NOT NULL DEFAULT 1 CHECK (value > '-Infinity' AND value < 'Infinity')
);
COMMENT ON TABLE pgsearch.search_outcome IS 'What came of logged searches: clicks, grades, whatever counts';
CREATE INDEX search_outcome_search_id ON pgsearch.search_outcome (search_id);

-- Refuses to note a search for who may not read what its search index is made of. A trigger, and no
-- row-level security, which would keep the log from a backup that is made by a member of
-- pg_read_all_data, and from who was granted SELECT on it. As there, the owner is not asked.
CREATE FUNCTION pgsearch.check_logged() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  asked pgsearch.search_index;
BEGIN
  IF pg_has_role((SELECT c.relowner FROM pg_class AS c WHERE c.oid = TG_RELID), 'USAGE') THEN
    RETURN NEW;
  END IF;
  SELECT i.* INTO asked FROM pgsearch.search_index AS i WHERE i.id = NEW.search_index_id;
  IF has_any_column_privilege(pgsearch.source_table(asked.schema_name, asked.name), 'SELECT') THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'pgsearch: % may not ask search index %, nor log searches of it',
      quote_ident(current_user), quote_ident(asked.name)
    USING ERRCODE = 'insufficient_privilege', HINT = 'The table''s owner lets a role ask with op.grant_search().';
END
$$;

CREATE TRIGGER check_logged BEFORE INSERT ON pgsearch.search_log
  FOR EACH ROW EXECUTE FUNCTION pgsearch.check_logged();

-- Not the times, which are the server's.
GRANT INSERT (id, search_index_id, query, embedding, documents, took_ms) ON pgsearch.search_log TO PUBLIC;
-- Who knows the search's id, which nobody can guess, has made it.
GRANT INSERT (search_id, document, value) ON pgsearch.search_outcome TO PUBLIC;


-- A search index by its name, with or without its schema.
CREATE FUNCTION pgsearch.find_search_index(name text) RETURNS pgsearch.search_index
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  parts text[] := parse_ident(find_search_index.name);
  ids integer[] := ARRAY(
    SELECT i.id FROM pgsearch.search_index AS i
    WHERE i.name = parts[cardinality(parts)]
      AND (cardinality(parts) = 1 OR i.schema_name = parts[cardinality(parts) - 1])
  );
  found pgsearch.search_index;
BEGIN
  IF cardinality(ids) <> 1 THEN
    RAISE EXCEPTION 'pgsearch: there % of the name %',
        CASE WHEN ids = '{}' THEN 'is no search index' ELSE 'are several search indexes' END, find_search_index.name
      USING ERRCODE = 'undefined_object',
            HINT = 'Write it as schema.name; `pgsearch status` shows those that there are.';
  END IF;
  SELECT i.* INTO found FROM pgsearch.search_index AS i WHERE i.id = ids[1];
  RETURN found;
END
$$;


-- The candidate that answers a query, by the setting pgsearch.canary (on or off), else by a hash of
-- what is asked: the same query has the same answer each time. NULL where the active one answers.
CREATE FUNCTION pgsearch.canary_embedding(
  schema_name text, index_name text, asked text, is_text_alone boolean
) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  -- What is not set is empty where it was set before.
  chosen text := nullif(lower(current_setting('pgsearch.canary', true)), '');
BEGIN
  IF chosen NOT IN ('on', 'off') THEN
    RAISE EXCEPTION 'pgsearch: the setting pgsearch.canary is %, it may be on or off', quote_literal(chosen)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'For a share of the queries: pgsearch canary INDEX EMBEDDING --share 10%';
  END IF;
  RETURN (
    SELECT e.name
    FROM pgsearch.search_index AS i
    JOIN pgsearch.canary AS c ON c.search_index_id = i.id
    JOIN pgsearch.embedding AS e ON e.id = c.embedding_id
    WHERE i.schema_name = canary_embedding.schema_name AND i.name = canary_embedding.index_name
      AND e.state = 'ready'
      AND coalesce(chosen = 'on',
        -- The upper of its bits: 32 numbers from 0 on.
        ((hashtextextended(lower(btrim(asked)), 0) >> 32) & 4294967295) < c.share * 4294967296)
      -- Of a text alone, the database has to make the vector.
      AND (NOT is_text_alone OR EXISTS (
        SELECT FROM pgsearch.encoder AS n WHERE n.embedding_id = e.id AND n.tokens > 0))
  );
END
$$;


-- The name of the embedding that is to answer a query: the active one, or a canary's. An application
-- that makes vectors itself asks here first, makes the vector with that one's model, and names it as
-- the search function's `embedding`. To keep a person with one of them, ask for the person's id.
CREATE FUNCTION pgsearch.embedding_for(search_index text, asked text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  found pgsearch.search_index := pgsearch.find_search_index(search_index);
BEGIN
  RETURN coalesce(
    pgsearch.canary_embedding(found.schema_name, found.name, asked, false),
    (SELECT e.name FROM pgsearch.embedding AS e
     WHERE e.search_index_id = found.id AND e.state = 'active')
  );
END
$$;


-- Lets a ready embedding answer a share of the queries, from 0 to 1; called again, another share.
CREATE FUNCTION pgsearch.start_canary(
  schema_name text, index_name text, embedding text, share double precision
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  candidate pgsearch.embedding := pgsearch.hold_embedding(schema_name, index_name, embedding);
BEGIN
  IF candidate.state <> 'ready' THEN
    RAISE EXCEPTION 'pgsearch: embedding % of search index % cannot be a canary: it is %',
        quote_literal(embedding), quote_ident(index_name), candidate.state
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = CASE candidate.state WHEN 'active' THEN 'It answers all queries.'
              ELSE 'Run `pgsearch sync`, or wait for the worker; `pgsearch status` shows how far it is.' END;
  END IF;
  INSERT INTO pgsearch.canary AS c (search_index_id, embedding_id, share)
  VALUES (candidate.search_index_id, candidate.id, start_canary.share)
  ON CONFLICT (search_index_id) DO UPDATE SET
    embedding_id = excluded.embedding_id,
    share = excluded.share,
    started_at = CASE WHEN c.embedding_id = excluded.embedding_id THEN c.started_at ELSE excluded.started_at END;
  INSERT INTO pgsearch.event (search_index_id, embedding, kind, detail)
  VALUES (candidate.search_index_id, candidate.name, 'canary started', jsonb_build_object('share', share));
END
$$;


-- Lets the active embedding answer all queries again; what was logged stays. False if there is none.
CREATE FUNCTION pgsearch.stop_canary(schema_name text, index_name text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  stopped pgsearch.canary;
BEGIN
  DELETE FROM pgsearch.canary AS c USING pgsearch.search_index AS i
  WHERE i.id = c.search_index_id AND i.schema_name = stop_canary.schema_name
    AND i.name = stop_canary.index_name
  RETURNING c.* INTO stopped;
  IF stopped.search_index_id IS NULL THEN
    RETURN false;
  END IF;
  INSERT INTO pgsearch.event (search_index_id, embedding, kind)
  SELECT e.search_index_id, e.name, 'canary stopped'
  FROM pgsearch.embedding AS e WHERE e.id = stopped.embedding_id;
  RETURN true;
END
$$;


-- Notes a search and returns its id, by which an outcome can be noted later. Without an embedding it
-- is the one that is to answer; an empty one says that keywords answered alone.
CREATE FUNCTION pgsearch.log_search(
  search_index text,
  query        text,
  documents    jsonb,
  embedding    text             DEFAULT NULL,
  took_ms      double precision DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  asked pgsearch.search_index := pgsearch.find_search_index(search_index);
  search_id uuid := gen_random_uuid();
BEGIN
  IF jsonb_typeof(documents) <> 'array' THEN
    RAISE EXCEPTION 'pgsearch: the documents of a logged search are a JSON %', jsonb_typeof(documents)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Pass the keys of what was shown as a JSON array, best first; a key of several '
              'columns is an array in it.';
  END IF;
  INSERT INTO pgsearch.search_log (id, search_index_id, query, embedding, documents, took_ms)
  VALUES (search_id, asked.id, log_search.query,
    nullif(coalesce(log_search.embedding, pgsearch.embedding_for(search_index, log_search.query)), ''),
    coalesce(log_search.documents, '[]'), log_search.took_ms);
  RETURN search_id;
END
$$;


-- Notes what came of a search: the document that was chosen, a grade, or whatever counts.
CREATE FUNCTION pgsearch.log_outcome(
  search_id uuid, document jsonb DEFAULT NULL, value double precision DEFAULT 1
) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO pgsearch.search_outcome (search_id, document, value)
  VALUES (log_outcome.search_id, log_outcome.document, log_outcome.value);
$$;


-- Makes a ready embedding the one that answers; the one before it stays ready, and so is the way
-- back. Nothing is locked but rows of the registry: searches look the embedding up.
--
-- One that is not ready is refused, for search would get worse. But where no embedding answers
-- anyway, as when a history of migrations is replayed on a new database, or where `when_ready`
-- says so, the worker activates it as soon as it is ready.
CREATE OR REPLACE FUNCTION pgsearch.activate_embedding(
  schema_name text, index_name text, embedding text, when_ready boolean DEFAULT false
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  index_id integer;
  found pgsearch.embedding;
BEGIN
  SELECT i.id INTO index_id FROM pgsearch.search_index AS i
  WHERE i.schema_name = activate_embedding.schema_name
    AND i.name = activate_embedding.index_name
  FOR NO KEY UPDATE;
  SELECT e.* INTO found FROM pgsearch.embedding AS e
  WHERE e.search_index_id = index_id AND e.name = activate_embedding.embedding
  FOR UPDATE;
  IF found.id IS NULL THEN
    RAISE EXCEPTION 'pgsearch: search index % has no embedding %',
        quote_ident(index_name), quote_literal(embedding)
      USING ERRCODE = 'undefined_object', HINT = coalesce(
        'It has ' || (SELECT string_agg(e.name, ', ' ORDER BY e.id) FROM pgsearch.embedding AS e
                      WHERE e.search_index_id = index_id) || '.',
        'Add one with op.add_embedding().');
  END IF;
  UPDATE pgsearch.embedding AS e SET activate_when_ready = false
  WHERE e.search_index_id = index_id AND e.activate_when_ready;
  IF found.state = 'active' THEN
    RETURN;
  END IF;
  IF found.state <> 'ready' THEN
    IF found.state = 'retired' OR (NOT when_ready AND EXISTS (
      SELECT FROM pgsearch.embedding AS e WHERE e.search_index_id = index_id AND e.state = 'active'
    )) THEN
      RAISE EXCEPTION 'pgsearch: embedding % of search index % cannot be activated: it is %',
          quote_literal(embedding), quote_ident(index_name), found.state
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Run `pgsearch sync`, or wait for the worker; `pgsearch status` shows how far it is.';
    END IF;
    UPDATE pgsearch.embedding AS e SET activate_when_ready = true WHERE e.id = found.id;
    RETURN;
  END IF;
  UPDATE pgsearch.embedding SET state = 'ready'
  WHERE search_index_id = index_id AND state = 'active';
  UPDATE pgsearch.embedding SET state = 'active', activated_at = clock_timestamp()
  WHERE id = found.id;
  -- Or it would go on where another one is activated again.
  DELETE FROM pgsearch.canary WHERE embedding_id = found.id;
  INSERT INTO pgsearch.event (search_index_id, embedding, kind)
  VALUES (index_id, found.name, 'activated');
END
$$;
