"""A database that is dumped and restored into a new one: search goes on there, and nothing is lost.

What a dump does not carry are the numbers of tables; what it carries are triggers that fire while
rows are restored by themselves.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch import embedded
from pgsearch.cli import main
from pgsearch.schema.embedding import add_embedding
from pgsearch.schema.install import install
from pgsearch.sync import Report, Worker
from pgsearch.sync.reconciliation import reconcile
from tests.plugins.migration import state_of
from tests.plugins.postgres import Databases
from tests.plugins.reconcile import SHAPES, counts, mended
from tests.plugins.search import HASH_V1, HASH_V2, create, execute_all, vector_of
from tests.plugins.tables import contents, contents_of_a_new_one
from tests.plugins.worker import CREATE_STORY, SENTENCES, STORY, Stories, Watching

FORMATS = ["plain", "custom"]
ALL = [STORY, *(shape.definition for shape in SHAPES.values())]


class Tools:
    """pg_dump and pg_restore of the server that tests run on."""

    def __init__(self, version: int, folder: Path) -> None:
        self._programs = embedded.psql(version).parent
        self._file = folder / "dump"

    def move(self, source: str, target: str, form: str, *options: str) -> None:
        """Dump a database and restore it into an empty one."""
        self._run("pg_dump", f"--format={form}", f"--file={self._file}", *options, source)
        if form == "plain":
            stop = "--set=ON_ERROR_STOP=1"
            self._run("psql", "--no-psqlrc", "--quiet", stop, f"--file={self._file}", target)
        else:
            data = [option for option in options if option in ("--data-only", "--disable-triggers")]
            self._run("pg_restore", "--exit-on-error", *data, f"--dbname={target}", str(self._file))

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def tools(pytestconfig: pytest.Config, tmp_path: Path) -> Tools:
    return Tools(pytestconfig.getoption("--postgres"), tmp_path)


@pytest.fixture(scope="session")
def shops_template(databases: Databases) -> str:
    """Name of a template with tables of several shapes, all of them up to date."""

    def prepare(url: str) -> None:
        with product.connect(url) as connection:
            execute_all(connection, install())
            connection.execute(CREATE_STORY)
            connection.execute(
                "INSERT INTO story (body) SELECT %s || n FROM generate_series(1, 9) AS n",
                [" ".join(SENTENCES)],
            )
            create(connection, STORY, HASH_V1)
            for shape in SHAPES.values():
                execute_all(connection, shape.made)
                definition = shape.definition
                table = Identifier(definition.schema, definition.table)
                secured = SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table)
                connection.execute(secured)
                create(connection, shape.definition, HASH_V1)
            Worker(url).drain()
            execute_all(connection, add_embedding("public", STORY.name, HASH_V2))
        Worker(url).drain()

    return databases.template("shops", prepare)


@pytest.fixture
def shops(databases: Databases, shops_template: str) -> Iterator[product.Connection]:
    """A connection to a database with tables of several shapes."""
    with databases.fresh(shops_template) as url, product.connect(url) as connection:
        yield connection


@contextmanager
def restored(
    databases: Databases, tools: Tools, source: product.Connection, form: str
) -> Iterator[tuple[str, product.Connection]]:
    """Dump a database, restore it into a new one, and yield that one."""
    with databases.fresh() as target:
        tools.move(databases.url(source.info.dbname), target, form)
        with product.connect(target) as connection:
            yield target, connection


def drain(url: str, model: Watching) -> Report:
    """Let a worker do all that is due, with a model of 64 dimensions that is watched."""
    other = Watching(dimensions=32)
    return Worker(url, load=lambda m: model if m.dimensions == 64 else other).drain()


def doctor(url: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["--database", url, "doctor"])
    return done.exit_code, done.stdout


def registered(connection: product.Connection) -> list[Any]:
    """Return what the registry says, the partitions that it knows as a set."""
    found = []
    for kind, name, what in state_of(connection)[1]:
        partitions = (what or {}).pop("partitions", None) or ""
        found.append((kind, name, what, set(partitions.strip("{}").split(","))))
    return found


def answers(connection: product.Connection) -> list[Any]:
    """Return what searches answer, by keywords and by vectors."""
    question = "a storm in the village, wings and note 7"
    vector = vector_of(question)
    return [
        connection.execute(
            SQL("SELECT * FROM {}(%s, vector => %s::vector)").format(
                Identifier(definition.schema, definition.name)
            ),
            [question, vector],
        ).fetchall()
        for definition in ALL
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_search_goes_on_in_a_restored_database(
    databases: Databases, tools: Tools, shops: product.Connection, form: str
) -> None:
    reader = f"reader_{shops.info.dbname}"
    shops.execute(SQL("CREATE ROLE {}").format(Identifier(reader)))
    try:
        for granted in (
            "SELECT ON story_search_document",
            "EXECUTE ON FUNCTION story_search_terms",
        ):
            shops.execute(SQL("GRANT " + granted + " TO {}").format(Identifier(reader)))
        shops.execute("INSERT INTO story (body) VALUES ('It waits.'), ('It is parked.')")
        shops.execute("UPDATE story_search_queue SET failed_at = now(), attempts = 5 WHERE id = 11")
        objects = state_of(shops)[0]
        known = registered(shops)
        found = answers(shops)
        with restored(databases, tools, shops, form) as (url, connection):
            assert state_of(connection)[0] == objects
            assert answers(connection) == found
            assert found[0]
            model = Watching()
            drain(url, model)
            # What waited, and nothing else; what was parked is parked there, too.
            assert model.asked == ["It waits."]
            assert registered(connection) == known
            assert doctor(url)[0] == 1  # a row is parked, and that is all
            assert "1 row is parked" in doctor(url)[1]
            connection.execute("UPDATE story_search_queue SET failed_at = NULL")
            drain(url, model)
            assert doctor(url)[0] == 0
            assert counts(reconcile(url, vectors="all")) == {}
    finally:
        shops.execute(SQL("DROP OWNED BY {}").format(Identifier(reader)))
        shops.execute(SQL("DROP ROLE {}").format(Identifier(reader)))


CHANGES: Sequence[str] = [
    "INSERT INTO story (body) VALUES ('New here.')",
    "UPDATE story SET body = 'Changed here.' WHERE id = 1",
    "DELETE FROM story WHERE id = 2",
    *(statement for shape in SHAPES.values() for statement in shape.changed),
]


@pytest.mark.parametrize("form", FORMATS)
def test_changes_are_followed_in_a_restored_database(
    databases: Databases, tools: Tools, shops: product.Connection, form: str
) -> None:
    with restored(databases, tools, shops, form) as (url, connection):
        model = Watching()
        execute_all(connection, CHANGES[:3])
        drain(url, model)
        assert sorted(model.asked) == ["Changed here.", "New here."]
        execute_all(connection, CHANGES[3:])
        drain(url, model)
        connection.execute("ALTER TABLE event DETACH PARTITION event_sad")
        drain(url, model)
        assert doctor(url)[0] == 0
        assert counts(reconcile(url, vectors="all")) == {}
        for definition in ALL[1:]:
            made_now = contents_of_a_new_one(connection, definition, HASH_V1)
            assert contents(connection, definition) == made_now


DATA = ("--data-only", "--disable-triggers")


@pytest.mark.parametrize("form", FORMATS)
def test_data_can_be_restored_after_the_migrations(
    databases: Databases, tools: Tools, whole: Stories, story_template: str, form: str
) -> None:
    """The registry is the migrations' own; all the rest comes from the dump."""
    with databases.fresh(story_template) as url, product.connect(url) as connection:
        product.register_vectors(connection)
        tools.move(whole.url, url, form, *DATA, "--exclude-schema=pgsearch")
        model = Watching()
        assert drain(url, model).entered == ["hash_v1: ready", "hash_v1: active"]
        assert model.asked == []
        stories = Stories(url, connection)
        assert (stories.waiting(), stories.differences()) == (0, [])
        assert counts(reconcile(url, vectors="all")) == {}
        assert doctor(url)[0] == 0
        stories.insert("New here.")
        drain(url, model)
        assert model.asked == ["New here."]
        assert stories.differences() == []


def test_rows_that_are_restored_without_triggers_are_found(
    databases: Databases, tools: Tools, whole: Stories, story_template: str
) -> None:
    with databases.fresh(story_template) as url, product.connect(url) as connection:
        product.register_vectors(connection)
        Worker(url).drain()
        tools.move(whole.url, url, "custom", *DATA, "--table=story")
        stories = Stories(url, connection)
        assert mended(stories) == {"missing document": 7, "missing chunk": 18}
