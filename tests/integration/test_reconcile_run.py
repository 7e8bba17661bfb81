"""How a reconciliation goes: past writers, over interruptions, at a pace, and within a memory."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from psycopg import IsolationLevel, errors

from pgsearch import database as product
from pgsearch.errors import DatabaseError
from pgsearch.sync.reconciliation import Compared, reconcile
from tests.plugins.reconcile import all_versions, counts, mended, only
from tests.plugins.worker import SENTENCES, Stories, Watching

ONE, TWO, THREE, FOUR = SENTENCES
PROGRAM = str(Path(sys.executable).with_name("pgsearch"))


def unseen(stories: Stories, *statements: str) -> None:
    """Execute statements while no trigger fires."""
    for statement in (
        "SET session_replication_role = replica",
        *statements,
        "RESET session_replication_role",
    ):
        stories.execute(statement)


class Interrupt:
    """Interrupts a reconciliation after so many ranges."""

    def __init__(self, ranges: int) -> None:
        self._ranges = ranges

    def __call__(self, _: Compared) -> None:
        self._ranges -= 1
        if self._ranges == 0:
            raise KeyboardInterrupt


def interrupted(stories: Stories, ranges: int, **options: object) -> None:
    """Reconcile in ranges of two, and stop after so many of them."""
    with pytest.raises(KeyboardInterrupt):
        reconcile(stories.url, batch=2, on_progress=Interrupt(ranges), **options)  # type: ignore[arg-type]


def test_it_goes_on_where_it_was_interrupted(whole: Stories) -> None:
    unseen(whole, "UPDATE story SET body = 'Changed.' WHERE id IN (2, 3, 6)")
    interrupted(whole, 2)
    assert whole.waiting() == 2
    told: list[Compared] = []
    report = only(reconcile(whole.url, batch=2, on_progress=told.append))
    assert report.resumed
    # What the first one did is counted too, and not done again.
    assert (report.compared, report.asked, whole.waiting()) == (7, 3, 3)
    assert {f.kind: f.count for f in report.findings} == {
        "stale document": 3,
        "stale chunk": 3,
        "surplus chunk": 6,
    }
    assert [t.compared for t in told] == [6, 7]
    assert mended(whole) == {}
    assert not only(reconcile(whole.url)).resumed


@pytest.mark.parametrize(
    "options",
    [pytest.param({"restart": True}, id="restart"), pytest.param({"vectors": "all"}, id="vectors")],
)
def test_it_begins_anew_if_it_is_told_so_or_looks_at_other_vectors(
    whole: Stories, options: dict[str, bool]
) -> None:
    unseen(whole, "UPDATE story SET body = 'Changed.' WHERE id IN (2, 6)")
    interrupted(whole, 2)
    report = only(reconcile(whole.url, **options))  # type: ignore[arg-type]
    assert (report.resumed, report.compared, report.waiting) == (False, 7, 1)


def test_a_dry_run_leaves_an_interrupted_one_alone(whole: Stories) -> None:
    interrupted(whole, 2)
    before = all_versions(whole.connection)
    assert only(reconcile(whole.url, dry_run=True, restart=True)).compared == 7
    assert all_versions(whole.connection) == before
    assert only(reconcile(whole.url)).resumed


@pytest.mark.parametrize("is_faster", [True, False])
def test_two_at_once_do_not_get_in_each_others_way(whole: Stories, is_faster: bool) -> None:
    def another(_: Compared) -> None:
        if is_faster:
            reconcile(whole.url)
        else:
            interrupted(whole, 1)

    with pytest.raises(DatabaseError, match="Another process is reconciling"):
        reconcile(whole.url, batch=2, on_progress=another)


def test_it_goes_on_after_a_kill(whole: Stories) -> None:
    whole.execute(
        "INSERT INTO story (id, body) SELECT n, 'Story ' || n FROM generate_series(101, 200) AS n"
    )
    whole.drain()
    unseen(whole, "DELETE FROM story WHERE id % 10 = 0")
    command = [PROGRAM, "--database", whole.url, "reconcile", "--batch=3", "--rate=50"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        compared = "SELECT coalesce(max(compared), 0) FROM pgsearch.reconciliation"
        while whole.value(compared) < 30:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    report = only(reconcile(whole.url))
    assert (report.resumed, report.compared, report.asked) == (True, 107, 10)
    assert [(f.kind, f.count) for f in report.findings] == [
        ("orphaned document", 10),
        ("orphaned chunk", 10),
    ]
    assert whole.waiting() == 10
    assert mended(whole) == {}


def test_a_change_of_the_search_index_is_noticed(whole: Stories) -> None:
    def change(_: Compared) -> None:
        whole.execute("UPDATE pgsearch.search_index SET definition = definition || '{\"x\": 1}'")

    with pytest.raises(DatabaseError, match="story_search was changed by a migration"):
        reconcile(whole.url, batch=2, on_progress=change)


def test_an_embedding_that_goes_is_noticed(whole: Stories) -> None:
    def drop(_: Compared) -> None:
        whole.execute("ALTER TABLE story_search_chunk DROP COLUMN IF EXISTS embedding_hash_v1")

    with pytest.raises(DatabaseError, match="story_search was changed by a migration"):
        reconcile(whole.url, batch=2, on_progress=drop)


def test_a_range_takes_no_less_time_than_was_asked_for(whole: Stories) -> None:
    assert only(reconcile(whole.url, batch=1, rate=14)).seconds >= 0.5


def test_the_end_is_known_from_the_beginning(whole: Stories) -> None:
    told: list[Compared] = []
    reconcile(whole.url, batch=3, on_progress=told.append)
    assert [(t.compared, t.total) for t in told] == [(3, 7), (6, 7), (7, 7)]
    whole.execute("ANALYZE story")
    told.clear()
    reconcile(whole.url, batch=3, on_progress=told.append)
    assert [(t.compared, t.total) for t in told] == [(3, 7), (6, 7), (7, 7)]


def test_nobody_waits_while_the_model_computes(whole: Stories) -> None:
    def write(texts: Sequence[str]) -> None:
        whole.execute("SET lock_timeout = '50ms'")
        whole.execute("DELETE FROM story WHERE id = 1")
        whole.execute("UPDATE story SET body = 'Changed.'")
        whole.execute("TRUNCATE story")
        idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        assert whole.value(f"{idle} AND datname = current_database()") == 0

    assert counts(reconcile(whole.url, load=lambda _: Watching(write))) == {}


class Writers:
    """Threads that write stories in each isolation level while something else goes on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self.errors: list[BaseException] = []
        self.writes = 0
        self._threads = [
            threading.Thread(target=self._write, args=[level, number])
            for number, level in enumerate(
                [
                    IsolationLevel.READ_COMMITTED,
                    IsolationLevel.REPEATABLE_READ,
                    IsolationLevel.SERIALIZABLE,
                ]
            )
        ]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, level: IsolationLevel, seed: int) -> None:
        draw = random.Random(seed)
        try:
            with product.connect(self._url) as connection:
                connection.isolation_level = level
                while not self._stop.is_set():
                    try:
                        with connection.transaction():
                            self._change(connection, draw)
                        self.writes += 1
                    except (errors.OperationalError, errors.UniqueViolation):
                        continue  # writers get into each other's way
        except BaseException as error:
            self.errors.append(error)

    def _change(self, connection: product.Connection, draw: random.Random) -> None:
        for _ in range(draw.randint(1, 3)):
            id_ = draw.randint(1, 60)
            body = " ".join(draw.choices(SENTENCES, k=draw.randint(0, 3)))
            statement, *parameters = draw.choice(
                [
                    (
                        "INSERT INTO story (id, body) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                        id_,
                        body,
                    ),
                    ("UPDATE story SET body = %s WHERE id = %s", body, id_),
                    ("UPDATE story SET body = %s WHERE id = %s", body, id_),
                    ("DELETE FROM story WHERE id = %s", id_),
                    ("UPDATE story SET id = id + 100 WHERE id = %s", id_),
                ]
            )
            connection.execute(statement.encode(), parameters)


def test_what_is_being_written_is_never_taken_for_damage(whole: Stories) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.1):  # or nothing would ever wait
            whole.worker().drain()

    working = threading.Thread(target=work)
    found: list[dict[str, int]] = []
    waiting = 0
    with Writers(whole.url) as writers:
        working.start()
        end = time.monotonic() + 4
        while time.monotonic() < end:
            report = reconcile(whole.url, batch=16, vectors="all")
            found.append(counts(report))
            waiting += only(report).waiting
    stop.set()
    working.join()
    assert writers.errors == []
    assert found == [{}] * len(found)
    # There was enough to be deceived by.
    assert (len(found) > 5, writers.writes > 100, waiting > 0) == (True, True, True)
    time.sleep(0.3)  # what was passed over is put off
    whole.drain()
    assert mended(whole) == {}


def asked_again(stories: Stories) -> None:
    """A document is lost; then its key is asked for, as the fill of an added embedding asks."""
    stories.execute("DELETE FROM story_search_document WHERE id = 2")
    stories.execute("INSERT INTO story_search_queue (id) VALUES (2)")


def came_back(stories: Stories) -> None:
    """A row is deleted, and comes back with other text where no trigger sees it."""
    stories.execute("DELETE FROM story WHERE id = 2")
    unseen(stories, f"INSERT INTO story (id, body) VALUES (2, '{ONE} {TWO} {FOUR}')")


@pytest.mark.parametrize("damage", [asked_again, came_back])
def test_a_row_without_its_document_loses_its_chunks_and_gets_both_back(
    whole: Stories, damage: Callable[[Stories], None]
) -> None:
    """No change that a trigger sees leaves a row without document, so chunks may be another's."""
    damage(whole)
    whole.drain()
    assert (whole.waiting(), whole.chunks(2)) == (0, [])
    chunks = 3
    assert counts(reconcile(whole.url)) == {"missing document": 1, "missing chunk": chunks}
    assert mended(whole) == {}
    assert len(whole.chunks(2)) == chunks
    assert whole.differences() == []


def test_a_row_that_is_still_to_be_filled_gets_its_chunks_in_the_end(whole: Stories) -> None:
    """One that came back while a migration had suspended the search index, as the queue knows."""
    whole.execute("DELETE FROM story WHERE id = 2")
    unseen(whole, f"INSERT INTO story (id, body) VALUES (2, '{ONE} {TWO}')")
    whole.execute("UPDATE pgsearch.search_index SET filled_at = NULL, fill_key = NULL")
    whole.drain()
    assert (whole.waiting(), whole.differences()) == (0, [])
    assert counts(reconcile(whole.url)) == {}


def test_damage_is_found_among_writers(whole: Stories) -> None:
    whole.insert(THREE)
    whole.drain()
    unseen(whole, "INSERT INTO story (id, body) VALUES (-1, 'Nobody saw it.')")
    with Writers(whole.url):
        assert counts(reconcile(whole.url)) == {"missing document": 1, "missing chunk": 1}
    assert mended(whole) == {}


def test_long_texts_are_read_one_by_one(whole: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgsearch.sync.reconciliation.examine.TEXT_BYTES", 40_000)
    paragraph = f"{ONE} {TWO} {THREE} {FOUR}\n\n"
    bodies = [f"{n}: " + paragraph * 60 for n in range(30)]
    unseen(
        whole,
        *(
            f"INSERT INTO story (id, body) VALUES ({100 + n}, '{body}')"
            for n, body in enumerate(bodies)
        ),
    )
    assert sum(map(len, bodies)) > 500_000
    reconcile(whole.url, dry_run=True)  # once, so that nothing is imported below
    tracemalloc.start()
    try:
        report = reconcile(whole.url, dry_run=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counts(report)["missing document"] == 30
    assert peak < 500_000


@pytest.fixture
def keeper(whole: Stories) -> Iterator[str]:
    """A role that may do what the documentation asks for, and nothing else."""
    role = f"keeper_{whole.connection.info.dbname}"
    whole.execute(f"CREATE ROLE {role} LOGIN")
    for granted in (
        "SELECT ON story, story_search_source, story_search_document",
        "SELECT, UPDATE, DELETE ON story_search_chunk",
        "SELECT, INSERT ON story_search_queue",
        "USAGE ON SEQUENCE story_search_queue_queue_id_seq",
        "SELECT, INSERT, UPDATE, DELETE ON pgsearch.reconciliation",
        "INSERT ON pgsearch.event",
    ):
        whole.execute(f"GRANT {granted} TO {role}")
    yield role
    whole.execute(f"DROP OWNED BY {role}")
    whole.execute(f"DROP ROLE {role}")


def test_it_needs_no_more_privileges_than_are_documented(whole: Stories, keeper: str) -> None:
    unseen(whole, "DELETE FROM story WHERE id = 1")
    whole.execute("UPDATE story_search_chunk SET content = 'x' WHERE (id, ordinal) = (2, 1)")
    whole.execute(
        "UPDATE story_search_chunk SET embedding_hash_v1 = embedding_hash_v1 * embedding_hash_v1"
        " WHERE (id, ordinal) = (3, 1)"
    )
    report = reconcile(whole.url.replace("postgres@", f"{keeper}@"), vectors="all")
    assert (only(report).asked, len(only(report).findings)) == (3, 4)
    assert mended(whole) == {}


def test_a_row_that_security_hides_is_an_error_and_no_damage(whole: Stories, keeper: str) -> None:
    """Else every document of a row that the role must not see would be taken for an orphan."""
    whole.execute("ALTER TABLE story ENABLE ROW LEVEL SECURITY")
    with pytest.raises(DatabaseError, match="Row-level security hides rows of table story"):
        reconcile(whole.url.replace("postgres@", f"{keeper}@"))
