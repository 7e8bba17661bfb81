"""The acts of the demo but the third. Each shows what it claims, and checks it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from psycopg.sql import SQL, Literal

from pgsearch import encoder, models, registry, resources
from pgsearch.canonical import document_search
from pgsearch.cli import console, migrate
from pgsearch.cli.status import size
from pgsearch.database import Connection
from pgsearch.declare import Embedding
from pgsearch.demo import ask, bar, first, paste, rows
from pgsearch.demo.corpus import QUESTIONS, Entry
from pgsearch.demo.edits import EDITS
from pgsearch.demo.show import Screen
from pgsearch.errors import LifecycleError
from pgsearch.lifecycle import replace
from pgsearch.models import Embedder
from pgsearch.status import read_status
from pgsearch.sync import Progress, Report, Worker

INDEX = document_search.name

#: The embedding of the migrations.
(DECLARED,) = (embedding.name for embedding in document_search.embeddings)

#: The modes of `document_search` under the names that the demo's tables have for them.
MODES = {"keyword": "keyword", "vector": "vector", "both": "hybrid"}


class Demo:
    """What the acts share.

    Args:
        url: The database.
        connection: An autocommit connection to it, with the demo's rows staged on it.
        screen: Where findings go.
        entries: The rows.
        is_embedded: Whether the database is the embedded server's.
    """

    def __init__(
        self,
        url: str,
        connection: Connection,
        screen: Screen,
        entries: Sequence[Entry],
        *,
        is_embedded: bool,
    ) -> None:
        self.url = url
        self.connection = connection
        self.screen = screen
        self.entries = entries
        self.is_embedded = is_embedded
        self.on_progress: Callable[[Progress], None] = lambda _: None
        self.worker = Worker(
            url,
            indexes=[INDEX],
            distill=True,
            on_progress=lambda progress: self.on_progress(progress),
        )


def load_rows(demo: Demo) -> None:
    """Act 1: migrations, rows, and keywords that find them before one vector exists."""
    screen, connection = demo.screen, demo.connection
    _migrate(demo)
    is_empty = rows.count(connection) == 0
    started = time.perf_counter()
    changed = rows.load(connection, demo.entries)
    seconds = time.perf_counter() - started
    found = rows.findable(connection)
    vectors = read_status(connection, INDEX)[0].embeddings[0].vectors
    if is_empty:
        rate = changed / seconds
        text = f"{changed:,} rows loaded by COPY in {seconds:.1f} s ({rate:,.0f} rows/s)"
        screen.check(found.rows == len(demo.entries), text)
    else:
        put_back = f"; {changed:,} of them put back after a run that was cut short"
        text = f"{found.rows:,} rows are there already{put_back if changed else ''}"
        screen.check(found.rows == len(demo.entries), text)
    _check_findable(screen, found)
    if is_empty:
        screen.check(vectors == 0, "and not one vector exists yet")
    statement = resources.sql("demo/keyword.sql")
    answer = ask.timed(connection, SQL(statement))
    screen.say(f"A keyword search takes {answer.ms:.1f} ms and finds {', '.join(answer.titles)}:")
    screen.verbatim(statement.rstrip())


def _migrate(demo: Demo) -> None:
    """Bring the database to the newest revision and print what was applied."""
    from alembic import command

    config = migrate.configuration(demo.url)
    before = migrate.current_revisions(demo.url)
    command.upgrade(config, "head")
    after = migrate.current_revisions(demo.url)
    applied = migrate.applied(config, before, after)
    for revision, title in applied:
        demo.screen.check(True, f"migration {revision}: {title}")
    if not applied:
        demo.screen.say(f"Nothing to migrate: the database is at {', '.join(after)} already.")


def _check_findable(screen: Screen, found: rows.Findable) -> None:
    """Check that keyword search finds every row."""
    screen.check(
        found.documents == found.rows, f"{found.documents:,} of them are in the keyword index"
    )
    wordless = len(found.wordless)
    screen.check(
        found.by_title + wordless == found.rows,
        f"{found.by_title:,} rows are found by the words of their own title",
    )
    if wordless:
        screen.check(
            found.by_text == wordless,
            f"{wordless:,} titles are nothing but stop words ({', '.join(found.wordless)}): "
            "the first line of their text finds them",
        )


def embed_rows(demo: Demo) -> None:
    """Act 2: the worker embeds what waits, builds the HNSW index and activates the embedding.

    In the first run that is a small model's; the migration's own takes its place in act 3.
    """
    screen, connection = demo.screen, demo.connection
    (index,) = registry.read(connection, INDEX)
    if index.active is None and [each.name for each in index.embeddings] == [DECLARED]:
        _begin_small(demo, index)
        (index,) = registry.read(connection, INDEX)
    for embedding in index.live:
        started = time.perf_counter()
        with console.remarks().status(f"Loading the model of {embedding.name}"):
            models.load(embedding.model)
        screen.say(
            f"The model of {embedding.name}, {embedding.model.dimensions} dimensions, "
            f"loaded in {time.perf_counter() - started:.1f} s"
        )
    waiting = rows.waiting(connection)
    with bar.embedding(demo, waiting) as seen:
        report = demo.worker.drain()
        build_s = seen.build_s()
    if report.documents:
        rate = report.documents / report.seconds
        text = (
            f"{report.documents:,} rows, {report.chunks:,} passages: {report.embedded:,} embedded "
            f"in {report.seconds:.0f} s ({rate:.0f} rows/s)"
        )
        if report.reused:
            text += f", {report.reused:,} like another, whose vector they share"
        screen.check(report.failed == 0, text)
    elif waiting:
        screen.check(False, f"{waiting:,} rows wait, and this worker got none of them")
    else:
        screen.check(True, "nothing had to be embedded: no row waited")
    _check_active(demo, build_s)


def _begin_small(demo: Demo, index: registry.RegisteredIndex) -> None:
    """Put the embedding that the migration has added aside, and add one of a small model."""
    connection = demo.connection
    replace.retire(connection, index, DECLARED)
    with console.remarks().status("Making a small model"):
        replace.add(connection, index, Embedding(first.NAME, first.model()))
    (index,) = registry.read(connection, INDEX)
    (added,) = (each for each in index.embeddings if each.name == first.NAME)
    # It answers for some minutes, and always with the model at hand.
    encoder.switch_off(connection, index, added)
    demo.screen.say(
        f"{DECLARED}, which the migration has added, is put aside for now. "
        f"{first.NAME} begins: of each token the vector by which MiniLM begins, and their mean."
    )


def _check_active(demo: Demo, build_s: float | None) -> None:
    """Check the active embedding and its HNSW index."""
    (status,) = read_status(demo.connection, INDEX)
    active = next((e for e in status.embeddings if e.state == "active"), None)
    if active is None:
        raise LifecycleError(
            f"No embedding of {INDEX} is active yet: {status.waiting:,} changes wait or are "
            f"with another worker, {status.failed:,} failed.",
            hint="See `pgsearch status`; run the demo again when that worker is done.",
        )
    built = "there already" if build_s is None else f"built and in use after {build_s:.1f} s"
    screen = demo.screen
    screen.check(
        active.index_valid is True,
        f"HNSW index over {active.vectors:,} vectors, {size(active.index_bytes or 0)}, {built}",
    )
    screen.check(
        active.vectors == status.chunks,
        f"embedding {active.name} is active: {active.vectors:,} of {status.chunks:,} passages "
        "have its vector",
    )


def ask_questions(demo: Demo) -> None:
    """Act 4: questions in plain words, answered by keyword, by vector and by both."""
    screen, connection = demo.screen, demo.connection
    embedder = _embedder(demo)
    asked = [(question, ask.vector(embedder, question.text)) for question in QUESTIONS]
    took = median(vector.ms for _, vector in asked)
    screen.say(
        f"A question's vector takes {took:.0f} ms to make; the times below are the SQL's, "
        f"medians of {ask.TIMES} calls."
    )
    screen.say(f"The questions share few words with their answers; {screen.yes} marks a right one.")
    hits = dict.fromkeys(MODES, 0)
    for question, vector in asked:
        answers = {
            name: ask.ask(connection, question.text, mode=mode, vector=vector)
            for name, mode in MODES.items()
        }
        screen.answers(question.text, answers, question.answers)
        for name, answer in answers.items():
            hits[name] += not set(question.answers).isdisjoint(answer.titles)
    screen.blank()
    tally = ", ".join(f"{name} {hit} of {len(asked)}" for name, hit in hits.items())
    screen.say(f"A right answer among the first three: {tally}.")
    _ask_with_text_alone(demo)


def _ask_with_text_alone(demo: Demo) -> None:
    """Ask the same questions in plain SQL without a vector, which the database makes itself."""
    screen, connection = demo.screen, demo.connection
    statement = SQL(resources.sql("demo/text.sql"))
    answers = [
        ask.timed(connection, statement, {"question": question.text}) for question in QUESTIONS
    ]
    screen.blank()
    screen.say("The same questions with text alone, as any application can ask them:")
    shown = SQL("SELECT * FROM document_search({});").format(Literal(QUESTIONS[0].text))
    screen.verbatim(shown.as_string(None))
    hits = sum(
        not set(question.answers).isdisjoint(answer.titles)
        for question, answer in zip(QUESTIONS, answers, strict=True)
    )
    took = median(answer.ms for answer in answers)
    screen.check(
        all(answer.titles for answer in answers),
        f"the database has made their vectors itself, without the model: {hits} of "
        f"{len(QUESTIONS)} right among the first three, {took:.1f} ms",
    )


def _embedder(demo: Demo) -> Embedder:
    """Return the model of the active embedding."""
    (index,) = registry.read(demo.connection, INDEX)
    assert index.active is not None
    return models.load(index.active.model)


def change_rows(demo: Demo) -> None:
    """Act 5: plain SQL changes rows, and the worker embeds exactly those that need it."""
    before = _first_hits(demo)
    generation = rows.newest_generation(demo.connection)
    try:
        _execute_edits(demo)
        _check_embedded(demo, demo.worker.drain(), generation)
        _check_found(demo, before, _first_hits(demo))
    finally:
        rows.restore(demo.connection)
    report = demo.worker.drain()
    total = rows.count(demo.connection)
    demo.screen.check(
        total == len(demo.entries),
        f"the five rows are put back as they were, {report.embedded} of them embedded again: "
        f"{total:,} rows, as before",
    )


def _first_hits(demo: Demo) -> list[ask.Answer]:
    """Return what search by both finds for each edit's question, ten hits each."""
    embedder = _embedder(demo)
    return [
        ask.ask(
            demo.connection,
            edit.question,
            mode="hybrid",
            vector=ask.vector(embedder, edit.question),
            k=10,
        )
        for edit in EDITS
    ]


def _execute_edits(demo: Demo) -> None:
    """Execute the edits as they are printed."""
    screen = demo.screen
    seconds = 0.0
    for edit in EDITS:
        screen.verbatim(edit.statement)
        started = time.perf_counter()
        changed = demo.connection.execute(SQL(edit.statement)).rowcount
        seconds += time.perf_counter() - started
        if changed != 1:
            screen.check(False, f"this changed {changed} rows")
    waiting = rows.waiting(demo.connection)
    screen.check(
        waiting == len(EDITS),
        f"five statements, {seconds * 1000:.0f} ms; their triggers put {waiting} changes into the "
        "queue",
    )


def _check_embedded(demo: Demo, report: Report, generation: int) -> None:
    """Check that every change was handled and exactly the new texts were embedded."""
    screen = demo.screen
    screen.check(
        (report.documents, report.embedded) == (5, 4) and rows.waiting(demo.connection) == 0,
        f"the worker handled {report.documents} changes in {report.seconds * 1000:.0f} ms: "
        f"{report.embedded} texts embedded, the rest cleared away",
    )
    embedded = rows.embedded_since(demo.connection, generation)
    screen.check(
        embedded == 4,
        f"{embedded} documents have newer passages than before; no other was touched",
    )


def _check_found(demo: Demo, before: list[ask.Answer], after: list[ask.Answer]) -> None:
    """Show first hits before and after; new texts must come first, and the deleted row not come."""
    screen = demo.screen
    screen.blank()
    screen.first_hits(
        [
            (edit.question, old.first, new.first)
            for edit, old, new in zip(EDITS, before, after, strict=True)
        ],
        [edit.title for edit in EDITS],
    )
    screen.blank()
    for edit, old, new in zip(EDITS, before, after, strict=True):
        if edit.body is None:
            screen.check(
                old.first == edit.title and edit.title not in new.titles,
                f"{edit.title} was the first hit and is not among the first ten any more",
            )
    found = [
        new.first == edit.title
        for edit, new in zip(EDITS, after, strict=True)
        if edit.body is not None
    ]
    screen.check(all(found), f"{sum(found)} of {len(found)} new texts are the first hit")


def drain_again(demo: Demo) -> None:
    """Act 6: a second run of the worker has nothing to do."""
    report = demo.worker.drain()
    demo.screen.check(
        (report.documents, report.embedded) == (0, 0),
        f"the worker ran again: {report.documents} rows waited, {report.embedded} texts embedded, "
        f"{report.seconds * 1000:.0f} ms",
    )


def hand_over(demo: Demo) -> None:
    """Act 7: the connection URI, psql, and SQL to paste into it."""
    screen = demo.screen
    uri = paste.without_password(demo.url)
    screen.say("The database:")
    screen.verbatim(uri)
    screen.say("psql on it" + (" (or: pgsearch server psql):" if demo.is_embedded else ":"))
    screen.verbatim(paste.psql_command(uri, is_embedded=demo.is_embedded))
    screen.say("To paste there:")
    for statement in paste.statements():
        screen.verbatim(statement)
        screen.blank()
    screen.say(
        "psql has no model: of text alone the database makes the vector. vector => '[...]' brings "
        "the model's own."
    )
