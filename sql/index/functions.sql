-- What the trigger function below does in REPEATABLE READ and SERIALIZABLE, where what a worker has
-- written since the snapshot is an error to whoever meets it. It is met in a subtransaction; a
-- worker then writes the document.
CREATE OR REPLACE FUNCTION {isolated}(
  gone boolean, was {row}, kept boolean, made {row}, may_meet boolean
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column  -- a key column may be called "made" or "gone"
<<again>>
DECLARE
  missed boolean;
BEGIN
  IF {isolated_name}.gone THEN
    missed := may_meet;
    BEGIN
      IF current_setting('transaction_isolation') = 'serializable' THEN
        -- A DELETE would read a page of the key's index, and be taken to depend on whoever writes
        -- another key there. A document of length -1 is none; a worker removes it.
        INSERT INTO {document} ({key}, tsv, length, truncated, generation)
        VALUES ({was_key}, '', -1, false, nextval({generation_literal}::regclass))
        ON CONFLICT ({key}) DO UPDATE SET
          tsv = excluded.tsv,
          length = excluded.length,
          truncated = excluded.truncated,
          generation = excluded.generation;
      ELSE
        DELETE FROM {document} WHERE ({key}) = ({was_key});
      END IF;
    EXCEPTION WHEN serialization_failure THEN
      missed := true;
    END;
    INSERT INTO {queue} ({key}, rewrite) VALUES ({was_key}, again.missed);
  END IF;
  IF {isolated_name}.kept THEN
    missed := false;
    BEGIN
      INSERT INTO {document} ({key}, tsv, length, truncated, generation)
      SELECT {made_key}, indexed.tsv, pgsearch.token_count(indexed.tsv), indexed.truncated,
             nextval({generation_literal}::regclass)
      FROM pgsearch.document_tsvector(made.tsconfig, made.texts, {weights}) AS indexed
      ON CONFLICT ({key}) DO UPDATE SET
        tsv = excluded.tsv,
        length = excluded.length,
        truncated = excluded.truncated,
        generation = excluded.generation;
    EXCEPTION WHEN serialization_failure THEN
      missed := true;
    END;
    INSERT INTO {queue} ({key}, rewrite) VALUES ({made_key}, again.missed);
  END IF;
END
$function$;

REVOKE ALL ON FUNCTION {isolated}(boolean, {row}, boolean, {row}, boolean) FROM PUBLIC;

-- Writes a document and appends to the queue in the transaction of the application's change. It
-- never waits for a worker and never touches a row that a worker has written.
CREATE OR REPLACE FUNCTION {capture}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column  -- a key column may be called "made" or "found"
DECLARE
  made {row};
  was {row};  -- of the row before, the key
  goes boolean;  -- the key that was
  may_meet boolean;
  indexed tsvector;
  is_cut boolean;
BEGIN
  -- What is common comes first: where one row is written, each expression takes a measurable part
  -- of the time.
  IF TG_OP = 'INSERT' THEN
    made := {reader}(NEW);
  ELSIF TG_OP = 'UPDATE' THEN
    made := {reader}(NEW);
{skip_unchanged}    goes := ({old_key}) IS DISTINCT FROM ({made_key});
  ELSIF TG_OP = 'DELETE' THEN
    goes := true;
  ELSE
    IF TG_RELID = pgsearch.source_table({schema_literal}, {index_literal}) THEN
      TRUNCATE {document};
      INSERT INTO {queue} DEFAULT VALUES;
    ELSIF pgsearch.source_table({schema_literal}, {index_literal}) IN
        (SELECT relid FROM pg_partition_ancestors(TG_RELID))
        AND EXISTS (SELECT FROM {document}) THEN
      -- One partition of many. Its rows are still there, and say which documents go with them.
      EXECUTE format($truncate$
        WITH gone AS (
          DELETE FROM {document} WHERE ({key}) IN (SELECT {part_key} FROM ONLY %s AS part)
          RETURNING {key}
        )
        INSERT INTO {queue} ({key}) SELECT {key} FROM gone
      $truncate$, TG_RELID::regclass);
    END IF;
    RETURN NULL;
  END IF;
  IF goes OR current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    IF goes THEN
      -- Here, where no table is in scope that might have a column called "old".
      was := ROW({old_key}, NULL, NULL);
      -- Where keys may meet within a statement, the same statement may have given this one to
      -- another row, whose document was written before. Else the source is not looked at: whoever
      -- deletes must not need more than before.
      may_meet := EXISTS (SELECT FROM pg_constraint
        WHERE conrelid = TG_RELID AND contype IN ('p', 'u') AND condeferrable);
    END IF;
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
      PERFORM {isolated}(goes, was, TG_OP <> 'DELETE', made, may_meet);
      RETURN NULL;
    END IF;
    IF may_meet THEN
      DELETE FROM {document} WHERE ({key}) = ({was_key})
        AND NOT EXISTS (SELECT FROM {source_view} AS source WHERE ({source_key}) = ({was_key}));
    ELSE
      DELETE FROM {document} WHERE ({key}) = ({was_key});
    END IF;
    INSERT INTO {queue} ({key}) VALUES ({was_key});
    IF TG_OP = 'DELETE' THEN
      -- Drawn for nobody: the number of generations is the number of changes.
      PERFORM nextval({generation_literal}::regclass);
      RETURN NULL;
    END IF;
  END IF;
  -- As pgsearch.document_tsvector does it with texts that are short, without another call.
  IF pg_column_size(made.texts) < 50000 THEN
    indexed := {short_tsvector};
  ELSE
    SELECT whole.tsv, whole.truncated INTO indexed, is_cut
    FROM pgsearch.document_tsvector(made.tsconfig, made.texts, {weights}) AS whole;
  END IF;
  INSERT INTO {document} ({key}, tsv, length, truncated, generation)
  VALUES ({made_key}, indexed, pgsearch.token_count(indexed), coalesce(is_cut, false),
          nextval({generation_literal}::regclass))
  ON CONFLICT ({key}) DO UPDATE SET
    tsv = excluded.tsv,
    length = excluded.length,
    truncated = excluded.truncated,
    generation = excluded.generation;
  INSERT INTO {queue} ({key}) VALUES ({made_key});
  RETURN NULL;
END
$function$;

-- Or anybody could write documents, from a table of their own with this trigger.
REVOKE ALL ON FUNCTION {capture}() FROM PUBLIC;

-- But its owner makes partitions of the table, which get the same triggers.
DO $pgsearch$
DECLARE
  owner regrole := (SELECT relowner FROM pg_class WHERE oid = {table_name}::regclass);
BEGIN
  IF owner <> current_user::regrole THEN
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s() TO %s', {capture_name}, owner);
  END IF;
END
$pgsearch$;

-- Writes the documents of the next key range that are missing, as on a table that was there before
-- its search index. After a change of the search index it also writes those anew that are there,
-- or sends their keys to the queue, as the registry says, and removes those whose rows went while
-- nothing was captured. `after` and `last` are keys as JSON objects; `last` is NULL at the end.
--
-- Rows are locked as a foreign key would lock them, so that one that is being deleted cannot leave
-- a document behind. The range is read before and without a lock, for a row that had to be waited
-- for may come back with another key, and the next range must not begin there. A document that
-- has a newer generation than the one that was read was written by a trigger meanwhile: it stays.
CREATE OR REPLACE FUNCTION {fill}(after jsonb, batch integer, OUT last jsonb, OUT documents integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- An error where row-level security would hide rows, and not a part that looks like the whole.
SET row_security = off
-- A plan for any key, or none, would have to read all rows up to it: no index serves `after IS NULL
-- OR`.
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column  -- the table may have columns called "after", "batch" or "last"
<<again>>
DECLARE
  documents boolean;
  chunks boolean;
  queue regclass := pg_get_serial_sequence({queue_name}, 'queue_id');
BEGIN
  SELECT i.refill_documents, i.refill_chunks INTO again.documents, again.chunks
  FROM pgsearch.search_index AS i
  WHERE i.schema_name = {schema_literal} AND i.name = {index_literal};
  WITH range AS MATERIALIZED (
    SELECT {source_key}, known.generation FROM {source_view} AS source
    LEFT JOIN {document} AS known ON ({known_key}) = ({source_key})
    WHERE ({fill_name}.after IS NULL OR ({source_key}) > ({after_key}))
      AND (known.generation IS NULL OR again.documents OR again.chunks)
    ORDER BY {source_key} LIMIT {fill_name}.batch
  ),
  source AS MATERIALIZED (
    SELECT {source_key}, source.texts, source.tsconfig FROM {source_view} AS source
    WHERE ({source_key}) IN (
      SELECT {key} FROM range WHERE range.generation IS NULL OR again.documents
    )
    FOR KEY SHARE OF source
  ),
  made AS MATERIALIZED (
    SELECT {source_key}, indexed.tsv, pgsearch.token_count(indexed.tsv) AS length, indexed.truncated
    FROM source, pgsearch.document_tsvector(source.tsconfig, source.texts, {weights}) AS indexed
  ),
  written AS (
    INSERT INTO {document} ({key}, tsv, length, truncated, generation)
    -- Below zero: the text is as it was before anything was captured.
    SELECT {made_key}, made.tsv, made.length, made.truncated,
           -nextval({generation_literal}::regclass)
    FROM made JOIN range ON ({range_key}) = ({made_key}) AND range.generation IS NULL
    ON CONFLICT ({key}) DO NOTHING
    RETURNING {key}
  ),
  -- Whose text was changed by a transaction that could not write the document: a worker is to.
  missed AS MATERIALIZED (
    SELECT {key} FROM {queue} WHERE rewrite AND again.documents AND NOT again.chunks
  ),
  rewritten AS (
    UPDATE {document} AS old SET
      tsv = made.tsv, length = made.length, truncated = made.truncated,
      -- What is embedded stays what it was, unless chunks are made anew too, or the text is another.
      generation = CASE WHEN again.chunks OR ({made_key}) IN (SELECT {key} FROM missed)
        THEN nextval({generation_literal}::regclass) ELSE old.generation END
    FROM made JOIN range ON ({range_key}) = ({made_key})
    WHERE ({old_document_key}) = ({made_key}) AND old.generation = range.generation
  ),
  orphan AS MATERIALIZED (
    SELECT {known_key}, known.generation FROM {document} AS known
    WHERE (again.documents OR again.chunks)
      AND ({fill_name}.after IS NULL OR ({known_key}) > ({after_key}))
      AND (NOT EXISTS (SELECT FROM range)
           OR ({known_key}) <= (SELECT {key} FROM range ORDER BY {range_key_descending} LIMIT 1))
      AND NOT EXISTS (SELECT FROM {source_view} AS source WHERE ({source_key}) = ({known_key}))
  ),
  removed AS (
    DELETE FROM {document} AS old USING orphan
    WHERE ({old_document_key}) = ({orphan_key}) AND old.generation = orphan.generation
    RETURNING {old_document_key}
  ),
  queued AS (
    INSERT INTO {queue} (queue_id, {key}) OVERRIDING SYSTEM VALUE
    SELECT pgsearch.backfill_id(again.queue), {key} FROM (
      SELECT {key} FROM written
      UNION ALL
      SELECT {key} FROM removed
      UNION ALL
      -- A worker may have the one that it missed in hand, with the generation that it had.
      SELECT {key} FROM range WHERE range.generation IS NOT NULL
        AND (again.chunks OR ({range_key}) IN (SELECT {key} FROM missed))
    ) AS asked
  )
  SELECT
    (SELECT jsonb_build_object({range_key_pairs}) FROM range ORDER BY {range_key_descending} LIMIT 1),
    (SELECT count(*) FROM range)
  INTO {fill_name}.last, {fill_name}.documents;
END
$function$;

REVOKE ALL ON FUNCTION {fill}(jsonb, integer) FROM PUBLIC;

-- Writes the documents of some keys anew, as they are when they are read: those that could not be
-- written in the application's transaction, and those that a reconciliation found to be wrong. Keys
-- are an array of JSON objects. A document with a newer generation than the one that was read was
-- written by a trigger meanwhile: it stays.
CREATE OR REPLACE FUNCTION {rewrite}(keys jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET row_security = off AS $function$
#variable_conflict use_column  -- a key column may be called "keys"
BEGIN
  WITH range AS MATERIALIZED (
    SELECT {source_key}, known.generation FROM {source_view} AS source
    LEFT JOIN {document} AS known ON ({known_key}) = ({source_key})
    WHERE ({source_key}) IN (SELECT {key} FROM jsonb_populate_recordset(NULL::{document}, {rewrite_name}.keys))
  ),
  source AS MATERIALIZED (
    SELECT {source_key}, source.texts, source.tsconfig FROM {source_view} AS source
    WHERE ({source_key}) IN (SELECT {key} FROM range)
    FOR KEY SHARE OF source
  ),
  made AS MATERIALIZED (
    SELECT {source_key}, range.generation AS known, indexed.tsv,
           pgsearch.token_count(indexed.tsv) AS length, indexed.truncated
    FROM source
    JOIN range ON ({range_key}) = ({source_key}),
         pgsearch.document_tsvector(source.tsconfig, source.texts, {weights}) AS indexed
  ),
  written AS (
    INSERT INTO {document} ({key}, tsv, length, truncated, generation)
    SELECT {made_key}, made.tsv, made.length, made.truncated,
           nextval({generation_literal}::regclass)
    FROM made WHERE made.known IS NULL
    ON CONFLICT ({key}) DO NOTHING
  )
  UPDATE {document} AS old SET
    tsv = made.tsv, length = made.length, truncated = made.truncated,
    generation = nextval({generation_literal}::regclass)
  FROM made
  WHERE ({old_document_key}) = ({made_key}) AND old.generation = made.known;
END
$function$;

REVOKE ALL ON FUNCTION {rewrite}(jsonb) FROM PUBLIC;

-- Takes notice of one partition that came, or of all that went, and returns whether there were any.
-- Rows of a partition that is attached were never seen by a trigger; those of one that is detached
-- are no rows of the table any more.
CREATE OR REPLACE FUNCTION {watch}() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET row_security = off AS $function$
#variable_conflict use_column  -- a key column may be called "source"
DECLARE
  source regclass := pgsearch.source_table({schema_literal}, {index_literal});
  known oid[] := (SELECT partitions FROM pgsearch.search_index
                  WHERE schema_name = {schema_literal} AND name = {index_literal});
  leaves oid[] := (SELECT array_agg(relid::oid ORDER BY relid::oid)
                   FROM pg_partition_tree(source) WHERE isleaf AND relid <> source);
  leaf regclass;
BEGIN
  -- One that was detached and came back has a newer trigger from the table than of its own.
  SELECT own.tgrelid INTO leaf
  FROM pg_trigger AS own JOIN pg_trigger AS given USING (tgrelid)
  WHERE tgrelid = ANY (leaves) AND own.tgname = {truncate_name}
    AND given.tgname = {insert_name} AND given.oid > own.oid
  LIMIT 1;
  IF FOUND THEN
    EXECUTE format('DROP TRIGGER %I ON %s', {truncate_name}, leaf);
    -- What happened to its rows meanwhile was not captured.
    UPDATE pgsearch.search_index
    SET partitions = NULL, refill_documents = true, refill_chunks = true
    WHERE schema_name = {schema_literal} AND name = {index_literal};
    RETURN true;
  END IF;
  IF leaves IS NOT DISTINCT FROM known THEN
    RETURN false;
  END IF;
  -- One at a time, for each is locked for a moment.
  SELECT relid INTO leaf FROM unnest(leaves) AS relid
  WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = relid AND tgname = {truncate_name});
  IF FOUND THEN
    EXECUTE format(
      'CREATE OR REPLACE TRIGGER %I BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION %s()',
      {truncate_name}, leaf, {capture_name});
    -- As the table's own does, and as the others, which it has handed down itself.
    IF EXISTS (SELECT FROM pg_trigger
               WHERE tgrelid = source AND tgname = {truncate_name} AND tgenabled IN ('A', 'R')) THEN
      EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', leaf, {truncate_name});
    END IF;
    RETURN true;
  END IF;
  WITH gone AS (
    DELETE FROM {document} AS document
    WHERE NOT EXISTS (SELECT FROM {source_view} AS source WHERE ({source_key}) = ({document_key}))
    RETURNING {document_key}
  )
  INSERT INTO {queue} ({key}) SELECT {key} FROM gone;
  UPDATE pgsearch.search_index SET partitions = leaves, fill_key = NULL, filled_at = NULL
  WHERE schema_name = {schema_literal} AND name = {index_literal};
  -- What is being filled waits for the rows that came.
  UPDATE pgsearch.embedding AS e SET fill_watermark = NULL
  FROM pgsearch.search_index AS i
  WHERE i.id = e.search_index_id AND e.state = 'filling'
    AND i.schema_name = {schema_literal} AND i.name = {index_literal};
  RETURN true;
END
$function$;

REVOKE ALL ON FUNCTION {watch}() FROM PUBLIC;

-- Takes keyword statistics anew: document count, mean length, and the common lexemes with their
-- document frequencies from the planner's statistics of the tsvector.
CREATE OR REPLACE FUNCTION {refresh}() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  documents bigint;
  mean double precision;
  drawn bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended({refresh_literal}, 0)) THEN
    RETURN;  -- another session is at it
  END IF;
  SELECT last_value INTO drawn FROM {generation};
  -- What writers have put off; searches read it each time.
  PERFORM gin_clean_pending_list(to_regclass({keyword_index_name}));
  ANALYZE {document};
  SELECT count(*), avg(length) INTO documents, mean FROM {document};
  WITH common AS MATERIALIZED (
    -- The frequencies end with their own bounds, which unnest pairs with NULL.
    SELECT entry.lexeme, greatest(round(entry.frequency * documents), 1)::bigint AS document_count
    FROM pg_stats,
         unnest(most_common_elems::text::text[], most_common_elem_freqs) AS entry (lexeme, frequency)
    WHERE schemaname = {schema_literal} AND tablename = {document_literal} AND attname = 'tsv'
      AND entry.lexeme IS NOT NULL
  ),
  gone AS (
    DELETE FROM {lexeme} AS old WHERE NOT EXISTS (SELECT FROM common WHERE common.lexeme = old.lexeme)
  )
  INSERT INTO {lexeme} AS old (lexeme, document_count) SELECT lexeme, document_count FROM common
  ON CONFLICT (lexeme) DO UPDATE SET document_count = excluded.document_count
  WHERE old.document_count <> excluded.document_count;
  UPDATE pgsearch.search_index
  SET document_count = documents, mean_length = mean,
      statistics_generation = drawn, statistics_at = clock_timestamp()
  WHERE schema_name = {schema_literal} AND name = {index_literal};
END
$function$;

REVOKE ALL ON FUNCTION {refresh}() FROM PUBLIC;

-- The terms of a query with their inverse document frequency, as BM25 wants them. Common lexemes
-- are looked up; what is not among them is rare, so counting it exactly is cheap. It runs as its
-- owner: a caller under row-level security weighs terms by the whole table, as everyone does.
--
-- Every term scores, but not every term brings documents to score: tier 1 holds the rarest terms,
-- up to a budget of documents; tier 2 the next one, where those may bring fewer than are wanted.
--
-- It tells how many documents hold a word, whoever may read them: so not everyone may ask it, but
-- those who might before. Where the table has row-level security it tells nobody of fewer than 20,
-- not even that there are any: a word that nobody else has written says what somebody has.
DO $pgsearch$
DECLARE
  privileges aclitem[] := (SELECT proacl FROM pg_catalog.pg_proc
    WHERE oid IN (to_regprocedure({terms_name_before}), to_regprocedure({terms_name_now}))
    ORDER BY pronargs DESC LIMIT 1);
BEGIN
-- The one that version 1 made: with both, a call would be ambiguous. Who is calling it finishes.
IF to_regprocedure({terms_name_before}) IS NOT NULL THEN
  -- squawk-ignore renaming-object
  ALTER FUNCTION {terms}(text, integer) RENAME TO {terms_replaced_name};
END IF;
CREATE OR REPLACE FUNCTION {terms}(
  query text, wanted integer DEFAULT 100, tsconfig regconfig DEFAULT {language}
)
RETURNS TABLE (
  term tsquery, document_frequency bigint, idf double precision,
  tier integer, mean_length double precision
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  documents bigint;
  mean double precision;
  budget bigint;
  fewest integer := (SELECT CASE WHEN c.relrowsecurity THEN 20 ELSE 0 END
                     FROM pg_class AS c WHERE c.oid = {document_name}::regclass);
BEGIN
  SELECT i.document_count, i.mean_length INTO documents, mean
  FROM pgsearch.search_index AS i
  WHERE i.schema_name = {schema_literal} AND i.name = {index_literal};
  -- Statistics that were never taken, or of empty documents only, say nothing.
  IF coalesce(mean, 0) = 0 THEN
    SELECT count(*), avg(d.length) INTO documents, mean FROM {document} AS d;
  END IF;
  budget := least(greatest(0.2 * documents, 300), 3000);
  RETURN QUERY
  WITH counted AS MATERIALIZED (
    SELECT
      pgsearch.lexeme_query(asked.lexeme) AS term,
      greatest(fewest, coalesce(
        (SELECT known.document_count FROM {lexeme} AS known WHERE known.lexeme = asked.lexeme),
        (SELECT count(*) FROM (
          SELECT FROM {document} AS d WHERE d.tsv @@ pgsearch.lexeme_query(asked.lexeme) LIMIT 10000
        ) AS few)
      )) AS frequency
    FROM unnest(pgsearch.query_lexemes({terms_name}.tsconfig, query)) AS asked (lexeme)
  ),
  ordered AS (
    SELECT
      c.term, c.frequency,
      sum(c.frequency) OVER terms AS total,
      -- Of those that are sure to bring any, the ones before it.
      coalesce(sum(c.frequency) FILTER (WHERE c.frequency > fewest) OVER terms, 0)
        - CASE WHEN c.frequency > fewest THEN c.frequency ELSE 0 END AS brought
    FROM counted AS c
    WINDOW terms AS (ORDER BY c.frequency, c.term::text ROWS UNBOUNDED PRECEDING)
  )
  SELECT
    o.term,
    o.frequency,
    ln(
      1 + (greatest(documents, o.frequency) - o.frequency + 0.5)::double precision
        / (o.frequency + 0.5)::double precision
    ),
    CASE
      WHEN o.frequency = 0 THEN NULL
      WHEN o.total <= budget OR o.total = o.frequency THEN 1
      WHEN o.brought < wanted THEN 2
    END,
    mean
  FROM ordered AS o;
END
$function$;
REVOKE ALL ON FUNCTION {terms}(text, integer, regconfig) FROM PUBLIC;
PERFORM pgsearch.grant_again('FUNCTION ' || {terms_name_now}, privileges);
END
$pgsearch$;
