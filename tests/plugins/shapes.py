"""Tables of several shapes, and a history of migrations that does everything to each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pgsearch import Chunking, Expression
from tests.plugins.history import Revision

#: The models that are added, as a migration writes them.
HASH_64 = 'Model("hash-64", dimensions=64, provider="hash")'
HASH_32 = 'Model("hash-32", dimensions=32, provider="hash")'


class Shape(NamedTuple):
    """A table, and what its search index is and becomes.

    Args:
        table: Its name.
        search: The name of its search index.
        made: Statements that make it, each on lines of its own.
        dropped: Statements that take it away.
        definitions: Arguments of `create_search_index`, then of each `alter_search_index`.
        retyped: Changes of a column's type, there and back.
        schema: Its schema, if that has to be said.
        adopt: A column with vectors of 64 dimensions.
        secured: Whether it is made with row-level security.
    """

    table: str
    search: str
    made: str
    dropped: str
    definitions: Sequence[Mapping[str, Any]]
    retyped: tuple[str, str]
    schema: str | None = None
    adopt: str | None = None
    secured: bool = False

    def call(self, operation: str, *arguments: str, **named: Any) -> str:
        """Return the call of an operation on this search index, as a migration writes it."""
        on_table = operation.endswith("search_index")
        written = [repr(self.search), *([repr(self.table)] if on_table else []), *arguments]
        named = named if self.schema is None else named | {"schema": self.schema}
        written += [f"{name}={value!r}" for name, value in named.items()]
        return f"op.{operation}({', '.join(written)})"


ARTICLE_KEY = {"id": "bigint"}

PLAIN = Shape(
    table="article",
    search="article_search",
    made="""
        CREATE TABLE article
          (id bigint PRIMARY KEY, tenant_id integer, code text, title text, body text);
        INSERT INTO article
          SELECT n, mod(n, 3), 'c', 'title', 'body' FROM generate_series(1, 9) AS n;
    """,
    dropped="DROP TABLE article;",
    definitions=[
        {
            "text": {"title": "A", "body": "B"},
            "key": ARTICLE_KEY,
            "filters": {"tenant_id": "integer"},
            "chunking": Chunking(heading="title"),
        },
        {
            "text": {"title": "A", "code": "D", "body": "C"},
            "key": ARTICLE_KEY,
            "filters": {"tenant_id": "integer", "code": "text"},
            "language": "simple",
        },
        {
            "text": {"body": "A"},
            "key": ARTICLE_KEY,
            "chunking": Chunking(max_tokens=64, overlap=8),
        },
    ],
    retyped=(
        "ALTER TABLE article ALTER COLUMN body TYPE varchar",
        "ALTER TABLE article ALTER COLUMN body TYPE text",
    ),
)

_ORDER_KEY = {"Order No": "integer", "Größe": "character varying(9)"}

QUOTED = Shape(
    schema="My Shop",
    table="Order's Items",
    search='The "Item" Search',
    made="""
        CREATE SCHEMA "My Shop";
        CREATE DOMAIN "My Shop".size AS varchar(9) CHECK (VALUE <> '');
        CREATE TABLE "My Shop"."Order's Items" (
          "Full Text" text, "Order No" integer, "Größe" "My Shop".size COLLATE "C", "Group" text,
          PRIMARY KEY ("Order No", "Größe"));
        COMMENT ON TABLE "My Shop"."Order's Items" IS 'the application wrote this';
        CREATE FUNCTION "My Shop".stamp() RETURNS trigger LANGUAGE plpgsql
          AS $$BEGIN NEW."Group" := upper(NEW."Group"); RETURN NEW; END$$;
        -- With it, updates are captured by another trigger.
        CREATE TRIGGER stamp BEFORE UPDATE ON "My Shop"."Order's Items"
          FOR EACH ROW EXECUTE FUNCTION "My Shop".stamp();
    """,
    dropped="""
        DROP TABLE "My Shop"."Order's Items";
        DROP FUNCTION "My Shop".stamp();
        DROP DOMAIN "My Shop".size;
        DROP SCHEMA "My Shop";
    """,
    definitions=[
        {"text": {"Full Text": "A"}, "key": _ORDER_KEY, "filters": {"Group": "text"}},
        {
            "text": {"Full Text": "A"},
            "key": _ORDER_KEY,
            "filters": {"Größe": "character varying(9)", "Group": "text"},
            "language": "german",
        },
    ],
    retyped=(
        'ALTER TABLE "My Shop"."Order\'s Items" ALTER COLUMN "Group" TYPE varchar(80)',
        'ALTER TABLE "My Shop"."Order\'s Items" ALTER COLUMN "Group" TYPE text',
    ),
)

_EXPRESSIONS = {
    "summary": Expression("data ->> 'a%b'", weight="A", columns=["data"]),
    "braces": Expression(
        "coalesce(data #>> '{a,0}', E'\\\\:\\'', ':' || lower(title))::text",
        weight="B",
        columns=["data", "title"],
    ),
    "tags": Expression("array_to_string(tags[1:3], ' ')", weight="C", columns=["tags"]),
}

EXPRESSIONS = Shape(
    table="page",
    search="page_search",
    made="""
        CREATE TABLE page (
          id uuid PRIMARY KEY, lang text, title text, tags text[], data jsonb,
          shouted text GENERATED ALWAYS AS (upper(title)) STORED, old vector(64));
        ALTER TABLE page ENABLE ROW LEVEL SECURITY;
        CREATE POLICY everyone ON page USING (true);
    """,
    dropped="DROP TABLE page;",
    definitions=[
        {
            "text": {"title": "A", **_EXPRESSIONS},
            "key": {"id": "uuid"},
            "language_column": "lang",
        },
        {
            "text": {"shouted": "A"},
            "key": {"id": "uuid"},
            "filters": {"lang": "text"},
        },
        {
            "text": {**_EXPRESSIONS, "shouted": "D"},
            "key": {"id": "uuid"},
            "language_column": "lang",
            "filters": {"lang": "text"},
            "chunking": Chunking(heading="braces"),
        },
    ],
    retyped=(
        "ALTER TABLE page ALTER COLUMN data TYPE json USING data::json",
        "ALTER TABLE page ALTER COLUMN data TYPE jsonb USING data::jsonb",
    ),
    adopt="old",
    secured=True,
)

PARTITIONED = Shape(
    table="event",
    search="event_search",
    made="""
        CREATE TYPE mood AS ENUM ('sad', 'glad');
        CREATE TABLE event (day date, mood mood, note text, PRIMARY KEY (mood, day))
          PARTITION BY LIST (mood);
        CREATE TABLE event_sad PARTITION OF event FOR VALUES IN ('sad');
        CREATE TABLE event_glad PARTITION OF event FOR VALUES IN ('glad')
          PARTITION BY RANGE (day);
        CREATE TABLE event_glad_all PARTITION OF event_glad DEFAULT;
        INSERT INTO event VALUES
          ('2024-02-29', 'glad', 'leap'), ('2024-03-01', 'sad', 'rain');
    """,
    dropped="DROP TABLE event;\nDROP TYPE mood;",
    definitions=[
        {"text": {"note": "A"}, "key": {"mood": "mood", "day": "date"}},
        {
            "text": {"note": "B"},
            "key": {"mood": "mood", "day": "date"},
            "filters": {"mood": "mood"},
        },
    ],
    retyped=(
        "ALTER TABLE event ALTER COLUMN note TYPE varchar(99)",
        "ALTER TABLE event ALTER COLUMN note TYPE text",
    ),
)

SHAPES = {
    "plain": PLAIN,
    "quoted": QUOTED,
    "expressions": EXPRESSIONS,
    "partitioned": PARTITIONED,
}


def revisions(shape: Shape) -> dict[str, Revision]:
    """Return a history that calls every operation on a table, and undoes each of them."""
    call = shape.call
    first, *others = shape.definitions
    adopt = "op.execute('SELECT 1')"
    add_second = call("add_embedding", "'second'", HASH_32, vector_type="halfvec", index_type="bit")
    drop_second = call("drop_embedding", "'second'", deactivate=True)
    of_bits = {"vector_type": "halfvec", "index_type": "bit", "dimensions": 32}
    if shape.adopt is not None:
        adopt = call("adopt_embedding", "'second'", HASH_64, column=shape.adopt)
    made = {
        "nothing": Revision("pass"),
        "install": Revision("op.pgsearch_install(version=3)", "op.pgsearch_uninstall()"),
        "table": Revision(_executed(shape.made), _executed(shape.dropped)),
        "create": Revision(call("create_search_index", **first), call("drop_search_index")),
        "add": Revision(
            call("add_embedding", "'first'", HASH_64, m=8), call("drop_embedding", "'first'")
        ),
    }
    for number, (before, after) in enumerate(zip(shape.definitions, others, strict=False), start=1):
        made[f"alter {number}"] = Revision(
            call("alter_search_index", **after), call("alter_search_index", **before)
        )
    last = call("alter_search_index", **shape.definitions[-1], refill=True)
    suspend = call("suspend_search_index", filters=True)
    there, back = ("\n".join([suspend, _executed(change), last]) for change in shape.retyped)
    schema = "" if shape.schema is None else f'"{shape.schema}".'
    security = f'ALTER TABLE {schema}"{shape.table}" {{}} ROW LEVEL SECURITY'
    secure, open_ = (
        f"{_executed(security.format(word))}\n{last}" for word in ("ENABLE", "DISABLE")
    )
    # Whom row-level security concerns may be no worker.
    roles = "'pg_monitor'", "'postgres'" if shape.secured else "'pg_monitor'"
    verbs = ("search", "worker")
    return made | {
        "grant": Revision(
            "\n".join(call(f"grant_{v}", r) for v, r in zip(verbs, roles, strict=True)),
            "\n".join(call(f"revoke_{v}", r) for v, r in zip(verbs, roles, strict=True)),
        ),
        "retype": Revision(there, back),
        "second": Revision(add_second, drop_second),
        # As workers do when all is embedded.
        "ready": Revision(
            _executed("UPDATE pgsearch.embedding SET state = 'ready', ready_at = now()"),
            _executed("UPDATE pgsearch.embedding SET state = 'filling'"),
        ),
        "activate": Revision(
            call("activate_embedding", "'first'"), call("deactivate_embedding", "'first'")
        ),
        "activate another": Revision(
            call("activate_embedding", "'second'"),
            call("activate_embedding", "'first'", when_ready=True),
        ),
        "reindex": Revision(
            call("reindex_embedding", "'first'", m=24, ef_construction=80),
            call("reindex_embedding", "'first'", m=8),
        ),
        "reindex bits": Revision(
            call("reindex_embedding", "'second'", **of_bits, m=24, ef_construction=80),
            call("reindex_embedding", "'second'", **of_bits),
        ),
        "reindex companions": Revision(call("reindex_search_index", key=[*first["key"]])),
        "secure": Revision(open_, secure) if shape.secured else Revision(secure, open_),
        "retire": Revision(
            call("retire_embedding", "'first'"), call("restore_embedding", "'first'")
        ),
        "drop embedding": Revision(
            call("drop_embedding", "'first'"), call("add_embedding", "'first'", HASH_64, m=8)
        ),
        "deactivate": Revision(
            call("deactivate_embedding", "'second'"),
            call("activate_embedding", "'second'", when_ready=True),
        ),
        "drop active": Revision(drop_second, add_second),
        "adopt": Revision(adopt, drop_second if shape.adopt else "pass"),
        "drop": Revision(
            call("drop_search_index"),
            "\n".join([call("create_search_index", **shape.definitions[-1]), adopt]),
        ),
        "uninstall": Revision("op.pgsearch_uninstall()", "op.pgsearch_install()"),
    }


def joined(*revisions: Revision) -> Revision:
    """Return one migration that does what several do."""
    return Revision(
        "\n".join(revision.upgrade for revision in revisions),
        "\n".join(revision.downgrade for revision in reversed(revisions)),
    )


def _executed(statements: str) -> str:
    parts = [part.strip() for part in re.split(r";\s*$", statements, flags=re.MULTILINE)]
    return "\n".join(f"op.execute({part!r})" for part in parts if part)
