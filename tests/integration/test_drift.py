"""Damage of every kind is found, named, and mended by the operation that is printed for it."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
import pytest

from pgsearch.sync import Worker
from tests.plugins.drift import damage, look, mend, seen

HNSW = "article_search_hash_v1_hnsw"
TSV = "article_search_document_tsv_idx"
QUEUE = "article_search_queue_key_idx"
UPDATE = '"00_article_search_update"'

ALTER = ["alter_search_index"]
REINDEX = ["reindex_embedding"]
REINDEX_KEYWORDS = ["reindex_search_index"]
EXECUTE = ["execute", "execute"]
RECREATE = ["drop_search_index", "create_search_index", "add_embedding"]
READD = ["drop_embedding", "add_embedding"]


class Case(NamedTuple):
    """What is done to a search index, what is found, and the operations that mend it."""

    damage: str
    found: str
    mended_by: list[str]


def check(url: str, case: Case) -> None:
    damage(url, case.damage)
    assert seen(url) == [case.found]
    assert mend(url) == case.mended_by
    Worker(url).drain()
    assert seen(url) == []
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT name, state FROM pgsearch.embedding").fetchall()
        assert rows == [("hash_v1", "active")]


def other_hnsw(definition: str) -> str:
    return f"""
      DROP INDEX {HNSW};
      CREATE INDEX {HNSW} ON article_search_chunk {definition}
    """


def invalid(index: str) -> str:
    return f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass"


INDEXES = {
    "hnsw missing": Case(f"DROP INDEX {HNSW}", f"index {HNSW} is missing", REINDEX),
    "hnsw invalid": Case(invalid(HNSW), f"index {HNSW} is INVALID", REINDEX),
    "hnsw parameters": Case(
        other_hnsw("USING hnsw (embedding_hash_v1 vector_cosine_ops) WITH (m = 8)"),
        f"index {HNSW} was built with m = 8, not 16",
        REINDEX,
    ),
    "hnsw operator class": Case(
        other_hnsw("USING hnsw (embedding_hash_v1 vector_l2_ops)"),
        f"index {HNSW} has the operator class vector_l2_ops, not vector_cosine_ops",
        REINDEX,
    ),
    "hnsw method": Case(
        other_hnsw("(ordinal)"), f"index {HNSW} is a btree index, not hnsw", REINDEX
    ),
    "hnsw of a part": Case(
        other_hnsw("USING hnsw (embedding_hash_v1 vector_cosine_ops) WHERE ordinal = 0"),
        f"index {HNSW} is not over the whole column embedding_hash_v1",
        REINDEX,
    ),
    "keywords missing": Case(f"DROP INDEX {TSV}", f"index {TSV} is missing", REINDEX_KEYWORDS),
    "keywords invalid": Case(invalid(TSV), f"index {TSV} is INVALID", REINDEX_KEYWORDS),
    "keywords with a long pending list": Case(
        f"ALTER INDEX {TSV} RESET (gin_pending_list_limit)",
        f"index {TSV} is of another definition",
        REINDEX_KEYWORDS,
    ),
    "hashes missing": Case(
        "DROP INDEX article_search_chunk_hash_idx",
        "index article_search_chunk_hash_idx is missing",
        REINDEX_KEYWORDS,
    ),
    "queue of all rows": Case(
        f"DROP INDEX {QUEUE}; CREATE INDEX {QUEUE} ON article_search_queue (id)",
        f"index {QUEUE} is of another definition",
        REINDEX_KEYWORDS,
    ),
}


@pytest.mark.parametrize("name", INDEXES)
def test_an_index(ready: str, name: str) -> None:
    check(ready, INDEXES[name])


def on_trigger(damage: str, problem: str) -> Case:
    return Case(damage, f"trigger 00_article_search_update {problem}", ALTER)


TRIGGERS = {
    "dropped": on_trigger(f"DROP TRIGGER {UPDATE} ON article", "is missing"),
    "disabled": on_trigger(f"ALTER TABLE article DISABLE TRIGGER {UPDATE}", "is disabled"),
    "of replicas": on_trigger(
        f"ALTER TABLE article ENABLE REPLICA TRIGGER {UPDATE}", "fires on replicas only"
    ),
    "other columns": on_trigger(
        f"""
          CREATE OR REPLACE TRIGGER {UPDATE} AFTER UPDATE OF id, title, body ON article
          FOR EACH ROW WHEN (
            OLD.id IS DISTINCT FROM NEW.id
            OR OLD.title::text COLLATE "C" IS DISTINCT FROM NEW.title::text
            OR OLD.title::text COLLATE "C" IS DISTINCT FROM NEW.title::text
          ) EXECUTE FUNCTION article_search_capture()
        """,
        "was replaced by hand",
    ),
    "another condition": on_trigger(
        f"""
          CREATE OR REPLACE TRIGGER {UPDATE} AFTER UPDATE OF id, title, body ON article
          FOR EACH ROW WHEN (OLD.body IS DISTINCT FROM NEW.body)
          EXECUTE FUNCTION article_search_capture()
        """,
        "was replaced by hand",
    ),
    "another event": on_trigger(
        f"""
          CREATE OR REPLACE TRIGGER {UPDATE} BEFORE UPDATE ON article
          FOR EACH ROW EXECUTE FUNCTION article_search_capture()
        """,
        "was replaced by hand",
    ),
    "of truncations dropped": Case(
        'DROP TRIGGER "00_article_search_truncate" ON article',
        "trigger 00_article_search_truncate is missing",
        ALTER,
    ),
    "blind": on_trigger(
        """
          CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN NEW.body := trim(NEW.body); RETURN NEW; END$$;
          CREATE TRIGGER tidy BEFORE UPDATE ON article FOR EACH ROW EXECUTE FUNCTION tidy()
        """,
        "does not see what a BEFORE UPDATE trigger changes, which was added after it",
    ),
    "twice": Case(
        """
          CREATE TRIGGER again AFTER INSERT ON article
          FOR EACH ROW EXECUTE FUNCTION article_search_capture()
        """,
        "trigger again captures changes a second time",
        EXECUTE,
    ),
}


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_trigger(ready: str, name: str) -> None:
    check(ready, TRIGGERS[name])


def test_what_was_not_captured_is_done_when_the_trigger_is_mended(ready: str) -> None:
    damage(
        ready,
        "ALTER TABLE article DISABLE TRIGGER USER",
        "UPDATE article SET body = 'unseen'",
        "INSERT INTO article (title) VALUES ('unseen')",
    )
    assert [finding.mend.name for finding in look(ready).findings] == ["REFILL"] * 4
    assert mend(ready) == ALTER
    Worker(ready).drain()
    with psycopg.connect(ready) as connection:
        hits = connection.execute("SELECT id, stale FROM article_search('unseen')").fetchall()
    assert sorted(hits) == [(1, False), (2, False)]


def edited(function: str, old: str = "BEGIN", new: str = "BEGIN NULL;") -> str:
    """Return what edits a function in place, as people do with psql's ef."""
    return f"""
      DO $do$
      BEGIN
        EXECUTE replace(pg_get_functiondef('{function}'::regproc), '{old}', '{new}');
      END
      $do$
    """


def on_function(name: str, damage: str, problem: str) -> Case:
    return Case(damage, f"function article_search{name} {problem}", ALTER)


def another_read(body: str) -> str:
    return f"""
      CREATE OR REPLACE FUNCTION article_search_read(source article) RETURNS article_search_row
      {body}
    """


FUNCTIONS = {
    f"{name} edited": on_function(name, edited(f"article_search{name}"), "was edited by hand")
    for name in (
        "",
        "_passages",
        "_capture",
        "_fill",
        "_watch_partitions",
        "_refresh_statistics",
        "_terms",
    )
} | {
    "with its callers' rights": on_function(
        "_capture",
        "ALTER FUNCTION article_search_capture SECURITY INVOKER",
        "is not SECURITY DEFINER",
    ),
    "without a path": on_function(
        "_capture", "ALTER FUNCTION article_search_capture RESET search_path", "has other options"
    ),
    "search without a path": on_function(
        "", "ALTER FUNCTION article_search RESET search_path", "has other options"
    ),
    "volatile": on_function(
        "_terms", "ALTER FUNCTION article_search_terms VOLATILE", "has other options"
    ),
    "for everybody": on_function(
        "_capture",
        "GRANT EXECUTE ON FUNCTION article_search_capture TO PUBLIC",
        "may be called by everybody",
    ),
    "fill dropped": on_function("_fill", "DROP FUNCTION article_search_fill", "is missing"),
    "search dropped": on_function("", "DROP FUNCTION article_search", "is missing"),
    "passages dropped": on_function(
        "_passages", "DROP FUNCTION article_search_passages", "is missing"
    ),
    "read edited": on_function(
        "_read",
        another_read("""
          LANGUAGE sql STABLE RETURN ROW((source).id,
            ARRAY[upper((source).title), (source).body], 'english'::regconfig)::article_search_row
        """),
        "was edited by hand",
    ),
    "read in another order": on_function(
        "_read",
        another_read("""
          LANGUAGE sql STABLE RETURN ROW((source).id,
            ARRAY[(source).body, (source).title], 'english'::regconfig)::article_search_row
        """),
        "was edited by hand",
    ),
    "read in PL/pgSQL": on_function(
        "_read",
        another_read("LANGUAGE plpgsql STABLE AS 'BEGIN RETURN NULL; END'"),
        "was edited by hand",
    ),
}


def test_what_passages_are(ready: str) -> None:
    damage(ready, "DROP TYPE article_search_passage CASCADE")
    lost = {"type article_search_passage is missing", "function article_search_passages is missing"}
    assert set(seen(ready)) == lost
    assert mend(ready) == ALTER
    assert seen(ready) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function(ready: str, name: str) -> None:
    check(ready, FUNCTIONS[name])


def view(name: str, select: str) -> str:
    return f"CREATE OR REPLACE VIEW article_search_{name} WITH (security_invoker) AS {select}"


VIEWS = {
    "dropped": Case(
        "DROP VIEW article_search_source", "view article_search_source is missing", ALTER
    ),
    "filter dropped": Case(
        "DROP VIEW article_search_filter", "view article_search_filter is missing", ALTER
    ),
    "edited": Case(
        view(
            "source",
            """
              SELECT id, ARRAY[title, body] AS texts, 'english'::regconfig AS tsconfig
              FROM article WHERE tenant_id = 1
            """,
        ),
        "view article_search_source was edited by hand",
        ALTER,
    ),
    "more columns": Case(
        view(
            "source",
            """
              SELECT id, ARRAY[title, body] AS texts, 'english'::regconfig AS tsconfig, tenant_id
              FROM article
            """,
        ),
        "view article_search_source was edited by hand",
        [*EXECUTE, *ALTER],
    ),
    "filter edited": Case(
        view("filter", "SELECT id, 1 AS tenant_id FROM article"),
        "view article_search_filter was edited by hand",
        ALTER,
    ),
    "with its owner's rights": Case(
        "ALTER VIEW article_search_source SET (security_invoker = false)",
        "view article_search_source is not security_invoker",
        ALTER,
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view(ready: str, name: str) -> None:
    check(ready, VIEWS[name])


def on_column(name: str, change: str, problem: str, mended_by: list[str]) -> Case:
    table, column = name.split(".")
    return Case(
        f"ALTER TABLE article_search_{table} {change}",
        f"column {column} of table article_search_{table} {problem}",
        mended_by,
    )


TABLES: dict[str, Case] = {
    "missing": Case(
        "DROP TABLE article_search_lexeme", "table article_search_lexeme is missing", RECREATE
    ),
    "no tokens": Case(
        "DROP TABLE article_search_token", "table article_search_token is missing", ALTER
    ),
    "a hit of before": Case(
        "ALTER TYPE article_search_hit DROP ATTRIBUTE encoder",
        "type article_search_hit has other attributes",
        ALTER,
    ),
    "key": Case(
        "ALTER TABLE article_search_chunk DROP CONSTRAINT article_search_chunk_pkey",
        "table article_search_chunk has no primary key (id, ordinal)",
        RECREATE,
    ),
    "sequence": Case(
        "DROP SEQUENCE article_search_generation",
        "sequence article_search_generation is missing",
        RECREATE,
    ),
    "attribute": Case(
        "ALTER TYPE article_search_hit ADD ATTRIBUTE more text",
        "type article_search_hit has other attributes",
        RECREATE,
    ),
    "attribute of a passage": Case(
        "ALTER TYPE article_search_passage ADD ATTRIBUTE more text",
        "type article_search_passage has other attributes",
        RECREATE,
    ),
    "column": on_column("document.length", "DROP COLUMN length", "is missing", RECREATE),
    "type": on_column(
        "document.length",
        "ALTER COLUMN length TYPE bigint",
        "is of type bigint, not integer",
        RECREATE,
    ),
    "storage": on_column(
        "chunk.embedding_hash_v1",
        "ALTER COLUMN embedding_hash_v1 SET STORAGE EXTENDED",
        "has not the storage EXTERNAL",
        EXECUTE,
    ),
    "statistics": on_column(
        "document.tsv",
        "ALTER COLUMN tsv SET STATISTICS 10",
        "has not the statistics target 1000",
        EXECUTE,
    ),
    "default": on_column(
        "queue.attempts", "ALTER COLUMN attempts DROP DEFAULT", "has not the default 0", EXECUTE
    ),
    "NULL": on_column("document.tsv", "ALTER COLUMN tsv DROP NOT NULL", "may be NULL", EXECUTE),
    "embedding": on_column(
        "chunk.embedding_hash_v1", "DROP COLUMN embedding_hash_v1", "is missing", READD
    ),
    "dimensions": on_column(
        "chunk.embedding_hash_v1",
        "ALTER COLUMN embedding_hash_v1 TYPE vector(32) USING subvector(embedding_hash_v1, 1, 32)",
        "is of type vector(32), not vector(64)",
        READD,
    ),
    "notifications": Case(
        "CREATE TRIGGER article_search_notify AFTER INSERT ON article_search_queue"
        " FOR EACH STATEMENT EXECUTE FUNCTION pgsearch.notify()",
        "trigger article_search_notify wakes workers though notify is not declared",
        ALTER,
    ),
    "storage parameters": Case(
        "ALTER TABLE article_search_chunk RESET (fillfactor)",
        "table article_search_chunk has other storage parameters than fillfactor = 50",
        EXECUTE,
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table(ready: str, name: str) -> None:
    check(ready, TABLES[name])


def test_several_findings_have_one_operation(ready: str) -> None:
    damage(ready, edited("article_search_capture"), f"DROP TRIGGER {UPDATE} ON article")
    damage(ready, f"DROP INDEX {TSV}", f"DROP INDEX {QUEUE}", invalid(HNSW))
    assert len(seen(ready)) == 5
    assert mend(ready) == [*ALTER, *REINDEX_KEYWORDS, *REINDEX]
    assert seen(ready) == []


def states(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT name, state, activate_when_ready FROM pgsearch.embedding ORDER BY name"
        ).fetchall()


def test_an_embedding_that_is_being_filled_has_no_index_yet(articles: str) -> None:
    assert states(articles) == [("hash_v1", "filling", False)]
    assert seen(articles) == []


@pytest.mark.parametrize(
    "lost", ["TYPE article_search_row", "FUNCTION article_search_read(article)"]
)
def test_what_triggers_went_with(ready: str, lost: str) -> None:
    """Writes go on without them, and are captured again when it is mended."""
    damage(ready, f"DROP {lost} CASCADE", "INSERT INTO article (title) VALUES ('unseen')")
    found = seen(ready)
    assert "function article_search_read is missing" in found
    assert sum(finding.startswith("trigger 00_") for finding in found) == 3
    assert mend(ready) == ALTER
    assert seen(ready) == []
