"""`pgsearch demo`: what it claims on the screen is true in the database, twice in a row."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from alembic import command as alembic
from psycopg.sql import SQL

from pgsearch import database as product
from pgsearch import embedded
from pgsearch.cli.migrate import configuration
from pgsearch.demo import paste, rows
from pgsearch.demo.corpus import QUESTIONS, Entry
from pgsearch.demo.edits import EDITS
from pgsearch.errors import DatabaseError
from tests.plugins.postgres import Databases

PROGRAM = Path(sys.executable).with_name("pgsearch")

#: Nothing that is printed is wider.
WIDTH = 100


@dataclass(frozen=True)
class Run:
    """One run of the demo: what it printed, and what the table `document` holds after it."""

    stdout: str
    stderr: str
    seconds: float
    rows: list[tuple[str, ...]]

    def act(self, number: int) -> str:
        """Return what an act printed, every run of white space as one blank."""
        acts = re.split(r"^\d  .+ ─+$", self.stdout, flags=re.MULTILINE)
        assert len(acts) == 8, self.stdout
        return " ".join(acts[number].split())


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where the demo keeps its first model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSEARCH_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def demo(url: str) -> subprocess.CompletedProcess[str]:
    """Run the demo on a database as its users do."""
    environment = {**os.environ, "DATABASE_URL": url}
    return subprocess.run(
        [PROGRAM, "demo"], env=environment, capture_output=True, text=True, timeout=1500
    )


def contents(connection: psycopg.Connection) -> list[tuple[str, ...]]:
    query = 'SELECT title, body, kind, module FROM document ORDER BY title COLLATE "C"'
    return connection.execute(query).fetchall()


def run(url: str) -> Run:
    """Run the demo to its end."""
    started = time.monotonic()
    done = demo(url)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stdout + done.stderr
    with psycopg.connect(url) as connection:
        return Run(done.stdout, done.stderr, seconds, contents(connection))


def found(pattern: str, text: str) -> list[str]:
    """Return what the groups of a pattern match in a text; it must match."""
    match = re.search(pattern, text)
    assert match, f"{pattern!r} is not in: {text}"
    return [group.replace(",", "") for group in match.groups()]


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    """The rows of the demo, from a process of their own: pytest replaces parts of the library."""
    script = (
        "import dataclasses, json\n"
        "from pgsearch.demo.corpus import standard_library\n"
        "print(json.dumps([dataclasses.asdict(entry) for entry in standard_library()]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return [Entry(**entry) for entry in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def url(databases: Databases) -> Iterator[str]:
    """URL of the database on which the demo runs twice; at first it has not even pgvector."""
    with databases.fresh() as url:
        yield url


@pytest.fixture(scope="module")
def first(url: str) -> Run:
    return run(url)


@pytest.fixture(scope="module")
def second(url: str, first: Run) -> Run:
    return run(url)


@pytest.fixture
def staged(
    empty_database: str, entries: list[Entry]
) -> Iterator[tuple[product.Connection, list[Entry]]]:
    """A connection to a database with a few of the demo's rows, loaded and staged; no model."""
    alembic.upgrade(configuration(empty_database), "head")
    titles = {edit.title for edit in EDITS}
    few = [entry for entry in entries if entry.module == "json" or entry.title in titles]
    with product.connect(empty_database) as connection:
        rows.stage(connection, few)
        assert rows.load(connection, few) == len(few) > len(EDITS)
        yield connection, few


def test_act_1_loads_rows_that_keywords_find_before_there_is_a_vector(
    first: Run, entries: list[Entry]
) -> None:
    act = first.act(1)
    assert "✓ migration 0001" in act
    assert "✓ migration 0002" in act
    assert found(r"✓ ([\d,]+) rows loaded by COPY in \d", act) == [str(len(entries))]
    assert found(r"✓ ([\d,]+) of them are in the keyword index", act) == [str(len(entries))]
    (by_title,) = found(r"✓ ([\d,]+) rows are found by the words of their own title", act)
    (wordless,) = found(r"✓ (\d+) titles are nothing but stop words \(all, any", act)
    assert int(by_title) + int(wordless) == len(entries)
    assert "✓ and not one vector exists yet" in act
    found(r"A keyword search takes [\d.]+ ms and finds random\.shuffle, ", act)


def test_act_2_embeds_every_row_and_builds_the_index(first: Run) -> None:
    act = first.act(2)
    assert "minilm_v1, which the migration has added, is put aside for now" in act
    documents, passages, embedded = found(
        r"✓ ([\d,]+) rows, ([\d,]+) passages: ([\d,]+) embedded in \d+ s \(\d+ rows/s\)", act
    )
    assert int(documents) == len(first.rows)
    assert int(embedded) <= int(passages)
    assert found(
        r"✓ HNSW index over ([\d,]+) vectors, .+, built and in use after [\d.]+ s", act
    ) == [passages]
    assert "✓ embedding static_v1 is active" in act
    # The bars of both models, which stand on standard error.
    rates = re.findall(rf"Embedding ━+ {documents}/{documents} rows ([\d,]+)/s", first.stderr)
    assert len(rates) == 2
    assert int(rates[0].replace(",", "")) > int(rates[1].replace(",", ""))


def test_act_3_replaces_the_first_model_by_the_real_one(first: Run, url: str) -> None:
    act = first.act(3)
    (passages,) = found(r"✓ minilm_v1 is filled: ([\d,]+) passages", act)
    (searches,) = found(r"✓ static_v1 has answered ([\d,]+) searches meanwhile", act)
    assert int(searches) > 0
    assert "document_search: 100 queries, vector, 10 results of each" in act
    before, now = found(r"✓ minilm_v1 is the better one: nDCG@10 (\S+) before, (\S+) now", act)
    assert 0 < float(before) < float(now) <= 1
    steps = found(
        r"✓ activated: (\S+) answers, .+ ✓ rolled back: (\S+) answers, .+ "
        r"✓ and activated again: (\S+) answers",
        act,
    )
    assert steps == ["minilm_v1", "static_v1", "minilm_v1"]
    with psycopg.connect(url) as connection:
        vectors = "SELECT count(embedding_minilm_v1) FROM document_search_chunk"
        assert connection.execute(vectors).fetchone() == (int(passages),)
        states = connection.execute("SELECT name, state FROM pgsearch.embedding ORDER BY id")
        assert states.fetchall() == [("minilm_v1", "active"), ("static_v1", "retired")]


def test_act_4_answers_every_question_in_three_ways(first: Run) -> None:
    act = first.act(4)
    found(r"question's vector takes \d+ ms to make", act)
    times = r"keyword [\d.]+ ms vector [\d.]+ ms both [\d.]+ ms"
    assert len(re.findall(times, act)) == len(QUESTIONS) == 5
    parts = re.split("|".join(f'"{re.escape(question.text)}"' for question in QUESTIONS), act)
    for question, part in zip(QUESTIONS, parts[1:], strict=True):
        assert any(f"{answer} ✓" in part for answer in question.answers), question.text
    keyword, vector, both = found(r"keyword (\d) of 5, vector (\d) of 5, both (\d) of 5", act)
    assert int(both) >= max(4, int(keyword), int(vector))


def test_act_5_embeds_the_four_rows_that_need_it(first: Run) -> None:
    act = first.act(5)
    for edit in EDITS:
        assert " ".join(edit.statement.split()) in act
    assert "✓ the worker handled 5 changes in" in act
    found(r"in \d+ ms: 4 texts embedded", act)
    assert "✓ 4 documents have newer passages than before" in act
    assert "✓ 4 of 4 new texts are the first hit" in act
    assert "calendar.isleap was the first hit and is not among the first ten" in act


def test_the_demo_puts_back_what_it_changed(first: Run, entries: list[Entry]) -> None:
    assert first.rows == sorted((e.title, e.body, e.kind, e.module) for e in entries)
    assert f"4 of them embedded again: {len(entries):,} rows, as before" in first.act(5)


def test_act_6_embeds_nothing(first: Run) -> None:
    found(r"✓ the worker ran again: 0 rows waited, 0 texts embedded, \d+ ms", first.act(6))


def test_act_7_is_pasted_into_psql(first: Run, url: str) -> None:
    lines = first.stdout.splitlines()
    assert url in first.act(7)
    command = lines.index("  psql on it:") + 1
    end = lines.index("  To paste there:")
    psql = "\n".join(lines[command:end])
    statements = "\n".join(lines[end + 1 :]).partition("psql has no model")[0].strip()
    asked = [f"{statement};" for statement in statements.split(";") if statement.strip()]
    assert len(asked) == 3
    assert asked[0].strip().startswith("SELECT * FROM document_search('")
    results = [paste_into(psql, statement) for statement in asked]
    assert [len(result) for result in results] == [5, 5, 2]
    titles = [row.split("|")[0] for row in results[1]]
    assert "str.split" in titles
    with psycopg.connect(url) as connection:
        query = "SELECT DISTINCT kind FROM document WHERE title = ANY(%s)"
        assert connection.execute(query, [titles]).fetchall() == [("method",)]
    assert re.match(r"minilm_v1\|active\|.+\|\d+\|0$", results[2][0])


def paste_into(psql: str, statement: str) -> list[str]:
    """Run a statement by the command line that the demo printed; return its rows."""
    options = shlex.join(["-XAt", "-R", "\x1e", "-v", "ON_ERROR_STOP=1", "-c", statement])
    done = subprocess.run(
        ["sh", "-c", f"{psql.strip()} {options}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("\x1e")


def test_it_fits_the_screen_and_a_pipe_without_colours(first: Run) -> None:
    # What is there to be copied is never broken into lines, however long the paths are.
    printed = [line for line in first.stdout.splitlines() if not line.startswith("    ")]
    assert max(map(len, printed)) <= WIDTH
    assert "\x1b" not in first.stdout + first.stderr
    assert "✗" not in first.stdout


def test_standard_error_has_nothing_but_the_demos_own_remarks(first: Run, second: Run) -> None:
    for stderr in (first.stderr, second.stderr):
        using, *lines = [line for line in stderr.splitlines() if line.strip()]
        assert using.startswith("Using database ")
        own = ("Embedding ", "Building the HNSW index", "Learning words", "Loading ")
        own += ("Reading the documentation", "Making a small model", "document_search: asking ")
        assert [line for line in lines if not line.startswith(own)] == []


def test_a_second_run_finds_its_work_done(second: Run, first: Run) -> None:
    act = second.act(1)
    assert "Nothing to migrate: the database is at" in act
    assert found(r"✓ ([\d,]+) rows are there already", act) == [str(len(first.rows))]
    assert "✓ nothing had to be embedded: no row waited" in second.act(2)
    assert "✓ minilm_v1 answers already" in second.act(3)
    found(r"✓ HNSW index over [\d,]+ vectors, .+, there already", second.act(2))
    assert second.rows == first.rows


def test_a_second_run_changes_and_embeds_four_rows_again(second: Run) -> None:
    found(r"✓ the worker handled 5 changes in \d+ ms: 4 texts embedded", second.act(5))
    found(r"0 rows waited, 0 texts embedded", second.act(6))


def test_a_second_run_is_quick(second: Run) -> None:
    assert second.seconds < 20


def test_edits_are_of_rows_that_every_run_has(entries: list[Entry]) -> None:
    titles = {entry.title for entry in entries}
    inserted = [edit.title for edit in EDITS if edit.title not in titles]
    deleted = [edit.title for edit in EDITS if edit.body is None]
    assert (len(EDITS), len(inserted), len(deleted)) == (5, 1, 1)


def test_edits_that_a_run_left_behind_are_undone(
    staged: tuple[product.Connection, list[Entry]], empty_database: str
) -> None:
    connection, few = staged
    loaded = contents(connection)
    for edit in EDITS:
        assert connection.execute(SQL(edit.statement)).rowcount == 1
    assert contents(connection) != loaded
    rows.require_own(connection, empty_database, ["0002"])
    assert rows.load(connection, few) == len(EDITS)
    assert contents(connection) == loaded
    assert rows.load(connection, few) == 0


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO document (title, body) VALUES ('Minutes', 'Of the meeting.')",
        "INSERT INTO document (title, body) SELECT title, body FROM document WHERE title = 'json'",
        "UPDATE document SET body = 'Mine now.' WHERE title = 'json'",
        "UPDATE document SET body = NULL WHERE title = 'json'",
        "UPDATE document SET kind = 'note' WHERE title = 'json'",
    ],
)
def test_a_row_of_someone_else_is_recognised(
    staged: tuple[product.Connection, list[Entry]], empty_database: str, change: str
) -> None:
    connection, _ = staged
    rows.require_own(connection, empty_database, ["0002"])
    connection.execute(SQL(change))
    with pytest.raises(DatabaseError, match="holds rows that the demo does not know") as refused:
        rows.require_own(connection, empty_database, ["0002"])
    assert ": 1, the first is" in refused.value.message
    assert "TRUNCATE document;" in (refused.value.hint or "")


def test_rows_of_someone_else_are_not_touched(empty_database: str) -> None:
    """At revision 0001 there is no search index: the demo does not make one either."""
    alembic.upgrade(configuration(empty_database), "0001")
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("INSERT INTO document (title, body) VALUES ('Minutes', 'Of May.')")
        before = contents(connection)
        done = demo(empty_database)
        assert done.returncode == 1
        assert "holds rows that the demo does not know" in done.stderr
        assert "the first is 'Minutes'" in done.stderr
        assert "hint: Name an empty database in DATABASE_URL." in done.stderr
        assert "Traceback" not in done.stderr
        assert contents(connection) == before
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            ("0001",)
        ]


def test_a_table_of_an_application_is_not_touched(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("CREATE TABLE document (number integer)")
        done = demo(empty_database)
        assert done.returncode == 1
        assert "that pgsearch's migrations did not make" in done.stderr
        tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert connection.execute(tables).fetchall() == [("document",)]


def test_without_the_extra_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['sentence_transformers'] = None\n"
        "from pgsearch.cli import main; main(['demo'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: The demo needs packages that are not installed: sentence-transformers.",
        'hint: Run pip install "pgsearch[demo]".',
    ]


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from pgsearch.cli import main\n"
        "main(['demo', '--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'sentence_transformers', 'alembic', 'rich', 'psycopg'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_embedded_server_is_left_with_its_own_psql() -> None:
    uri = "postgresql://postgres@/pgsearch?host=/tmp/a folder"
    command = shlex.split(paste.psql_command(uri, is_embedded=True))
    assert command[0] == str(embedded.psql())
    assert [part for part in command if part.startswith("postgresql:")] == [uri]


@pytest.mark.parametrize(
    ("uri", "printed"),
    [
        ("postgresql://ann:s3cret@db:5432/app", "postgresql://ann@db:5432/app"),
        (
            "postgresql://ann@db/app?password=s3cret&sslmode=require",
            "postgresql://ann@db/app?sslmode=require",
        ),
        ("postgresql://ann@db/app?password=s3cret", "postgresql://ann@db/app"),
        ("postgresql://db/app", "postgresql://db/app"),
        ("postgresql:///app?host=/run/pg", "postgresql:///app?host=/run/pg"),
    ],
)
def test_a_password_is_not_printed(uri: str, printed: str) -> None:
    assert paste.without_password(uri) == printed
