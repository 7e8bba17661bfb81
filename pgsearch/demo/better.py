"""Act 3 of the demo: a better model takes the place of the first, as by `pgsearch upgrade`."""

from __future__ import annotations

import time
from statistics import median
from typing import Final

from psycopg.sql import SQL, Literal

from pgsearch import models, registry, resources
from pgsearch.cli import compare, upgrade
from pgsearch.demo import ask, bar, first, rows
from pgsearch.demo.acts import DECLARED as BETTER
from pgsearch.demo.acts import INDEX, Demo
from pgsearch.demo.corpus import QUESTIONS
from pgsearch.lifecycle import replace
from pgsearch.registry import RegisteredIndex
from pgsearch.status import read_status

#: Known items by which both are compared, beside the demo's own questions.
_ITEMS: Final = 95

#: Seconds between two searches while the better one is filled.
_EVERY_S: Final = 2.0

#: The temporary table that sql/demo/judgements.sql makes.
_JUDGEMENTS: Final = "demo_judgement"


def replace_model(demo: Demo) -> None:
    """Act 3: add, fill, compare, activate, roll back, activate, retire the old one."""
    (index,) = registry.read(demo.connection, INDEX)
    assert index.active is not None, "act 2 has activated one"
    old = index.active.name
    if old != first.NAME:
        demo.screen.check(True, f"{old} answers already")
    else:
        demo.screen.say(
            f"As `pgsearch upgrade {INDEX} --to {BETTER}` and `pgsearch activate` do it, while "
            "searches go on:"
        )
        index = _fill(demo, index, old)
        _compare(demo, index, old)
        for name, said in (
            (BETTER, "activated"),
            (old, "rolled back"),
            (BETTER, "and activated again"),
        ):
            _activate(demo, name, said)
    _retire_first(demo)


def _fill(demo: Demo, index: RegisteredIndex, old: str) -> RegisteredIndex:
    """Add the better one and let the worker fill it, while the old one answers."""
    connection, screen = demo.connection, demo.screen
    upgrade.added(connection, index, BETTER)
    assert index.active is not None
    question = QUESTIONS[0].text
    vector = ask.vector(models.load(index.active.model), question)
    answers: list[ask.Answer] = []
    started = asked = time.perf_counter()

    def search() -> None:
        nonlocal asked
        if time.perf_counter() - asked > _EVERY_S:
            answers.append(ask.ask(connection, question, mode="vector", vector=vector))
            asked = time.perf_counter()

    with bar.embedding(demo, rows.count(connection), search) as seen:
        index = upgrade.filled(connection, demo.worker, index, BETTER)
        build_s = seen.build_s() or 0.0
    seconds = time.perf_counter() - started
    (status,) = read_status(connection, INDEX)
    (filled,) = (each for each in status.embeddings if each.name == BETTER)
    screen.check(
        filled.vectors == status.chunks,
        f"{BETTER} is filled: {filled.vectors:,} passages, and all that belongs to it, in "
        f"{seconds:.0f} s; its HNSW index and its words took {build_s:.0f} s of them",
    )
    if answers:
        screen.check(
            all(answer.titles for answer in answers),
            f"{old} has answered {ask.TIMES * len(answers):,} searches meanwhile, in "
            f"{median(answer.ms for answer in answers):.1f} ms each",
        )
    return index


def _compare(demo: Demo, index: RegisteredIndex, old: str) -> None:
    """Ask both what has a known answer, and show which one finds it."""
    connection, screen = demo.connection, demo.screen
    connection.execute("DROP TABLE IF EXISTS pg_temp.demo_judgement")
    judgements = SQL(resources.sql("demo/judgements.sql"))
    connection.execute(judgements.format(items=Literal(_ITEMS)))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO demo_judgement SELECT %s, 1, id FROM document WHERE title = %s",
            [(question.text, title) for question in QUESTIONS for title in question.answers],
        )
    screen.blank()
    screen.say(
        f"Both are asked {_ITEMS} known items, first sentences of a docstring, which have to find "
        f"the row that they were taken from, and the {len(QUESTIONS)} questions of the next act:"
    )
    comparison = compare.run(
        connection,
        index,
        old,
        BETTER,
        k=10,
        mode="vector",
        judgements_table=_JUDGEMENTS,
    )
    compare.tell(comparison, show=1)
    screen.blank()
    judged = comparison.judged["ndcg10"]
    screen.check(
        judged.difference > 0,
        f"{BETTER} is the better one: nDCG@10 {judged.first:.2f} before, {judged.second:.2f} now",
    )


def _activate(demo: Demo, name: str, said: str) -> None:
    """Activate an embedding, and look which one answers."""
    (index,) = registry.read(demo.connection, INDEX)
    started = time.perf_counter()
    replace.activate(demo.connection, index, name)
    took_ms = 1000 * (time.perf_counter() - started)
    (now,) = registry.read(demo.connection, INDEX)
    demo.screen.check(
        now.active is not None and now.active.name == name,
        f"{said}: {name} answers, after {took_ms:.1f} ms",
    )


def _retire_first(demo: Demo) -> None:
    """Let nobody embed for the first one any more; its vectors stay, and it can be restored."""
    (index,) = registry.read(demo.connection, INDEX)
    assert index.active is not None
    if first.NAME in {each.name for each in index.embeddings} - {index.active.name}:
        replace.retire(demo.connection, index, first.NAME)
        demo.screen.say(
            f"{first.NAME} is retired: its vectors stay, and nobody embeds for it any more."
        )
