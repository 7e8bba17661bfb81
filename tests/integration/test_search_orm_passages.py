"""`search` from SQLAlchemy for passages: those that the function finds, in any session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from pgsearch import Hit, search
from pgsearch.errors import QueryError
from pgsearch.testing import HashEmbedder
from tests.plugins.command_line import run
from tests.plugins.letters import Letter, letter_search

MODES = ("hybrid", "keyword", "vector")
QUERY = "a storm over the harbour"


@pytest.fixture
def session(letters: Engine) -> Iterator[Session]:
    with Session(letters) as session:
        yield session


def comparable(rows: Any) -> list[tuple[Any, ...]]:
    return [(letter.sender, letter.number, *hit) for letter, hit in rows]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fusion", ["exact", "rrf"])
@pytest.mark.parametrize("year", [None, 1901])
@pytest.mark.parametrize("per_document", [None, 2])
def test_they_are_those_of_the_function(
    session: Session, mode: str, fusion: str, year: int | None, per_document: int | None
) -> None:
    asked = search(
        Letter,
        QUERY,
        limit=15,
        offset=4,
        mode=mode,
        fusion=fusion,
        where=None if year is None else Letter.year == year,
        passages=True,
        per_document=per_document,
    )
    by_function = session.execute(
        text(
            "SELECT sender, number, score, keyword_score, keyword_rank, similarity, vector_rank,"
            " passage, stale, ordinal, passage_rank, document_score"
            " FROM letter_search_passages(:query, k => 15, skip => 4, mode => :mode,"
            " vector => CAST(:vector AS vector), fusion => :fusion, year => :year,"
            " per_document => :per_document)"
        ),
        {
            "query": QUERY,
            "vector": HashEmbedder(64).embed_queries([QUERY])[0].to_text(),
            "mode": mode,
            "fusion": fusion,
            "year": year,
            "per_document": per_document,
        },
    ).all()
    found = session.execute(asked).all()
    assert len(found) > 10
    assert [
        (*key, *hit[:7], hit.ordinal, hit.passage_rank, hit.document_score)
        for *key, hit in ((a.sender, a.number, hit) for a, hit in found)
    ] == [tuple(row) for row in by_function]
    assert all(isinstance(hit, Hit) and isinstance(letter, Letter) for letter, hit in found)
    if per_document is not None:
        keys = [(letter.sender, letter.number) for letter, _ in found]
        assert max(map(keys.count, keys)) == per_document


def test_a_boost_moves_all_passages_of_a_row(session: Session) -> None:
    def scores(**options: Any) -> dict[tuple[Any, ...], float]:
        asked = search(Letter, QUERY, limit=500, mode="vector", passages=True, **options)
        return {
            (letter.sender, letter.number, hit.ordinal): hit.score
            for letter, hit in session.execute(asked)
        }

    plain, boosted = scores(), scores(boost=10.0 * Letter.year)
    assert plain.keys() == boosted.keys()
    years = {letter.number: letter.year for letter in session.scalars(select(Letter))}
    assert boosted == pytest.approx(
        {key: score + 10 * years[key[1]] for key, score in plain.items()}
    )


@pytest.mark.parametrize("mode", MODES)
def test_snippets_and_explanations_are_of_the_passage(session: Session, mode: str) -> None:
    asked = search(Letter, QUERY, mode=mode, passages=True, snippets=True, explain=True)
    for _, hit in session.execute(asked):
        assert hit.snippet is not None
        assert hit.passage is not None
        assert hit.snippet.replace("<b>", "").replace("</b>", "") in hit.passage
        assert hit.explanation is not None


def test_a_table_gives_rows(session: Session) -> None:
    rows = session.connection().execute(search(letter_search, QUERY, passages=True)).all()
    more = ("ordinal", "passage_rank", "document_score")
    assert rows[0]._fields == ("sender", "number", "year", "body", *Hit._fields[:7], *more)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_async"])
def test_it_runs_with_async_drivers(letters: Engine, session: Session, driver: str) -> None:
    statements = [
        search(Letter, QUERY, mode=mode, where=Letter.year > 1900, passages=True, per_document=n)
        for mode in MODES
        for n in (None, 1)
    ]
    url = letters.url.set(drivername=f"postgresql+{driver}")

    async def ask() -> list[list[tuple[Any, ...]]]:
        engine = create_async_engine(url)
        async with AsyncSession(engine) as asking:
            found = [comparable((await asking.execute(asked)).all()) for asked in statements]
        await engine.dispose()
        return found

    expected = [comparable(session.execute(asked).all()) for asked in statements]
    assert asyncio.run(ask()) == expected
    assert all(expected)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"per_document": 2}, "limits passages, but documents are asked for"),
        ({"per_document": 0, "passages": True}, "per_document=0 leaves no passage"),
    ],
)
def test_what_is_not_to_be_asked(options: Any, problem: str) -> None:
    with pytest.raises(QueryError, match=problem):
        search(Letter, QUERY, **options)


# The command line


def test_the_command_line(letters: Engine, session: Session) -> None:
    url = letters.url.set(drivername="postgresql").render_as_string(hide_password=False)
    asked = ("search", "letter_search", QUERY, "-k", "6", "--passages")
    done = run(url, *asked, "--json", "--per-document", "2")
    assert done.exit_code == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    by_orm = session.execute(search(Letter, QUERY, limit=6, passages=True, per_document=2)).all()
    assert [(hit["sender"], hit["number"], hit["ordinal"]) for hit in found] == [
        (letter.sender, letter.number, hit.ordinal) for letter, hit in by_orm
    ]
    shown = run(url, *asked, "--explain", "--snippets", columns=160).stdout
    heading = shown.splitlines()[1].split()[1::2]
    assert heading[:6] == ["sender", "number", "ordinal", "score", "keyword", "similarity"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--similar-to", "7", "--passages"], "--similar-to finds rows"),
        (["storm", "--per-document", "2"], "--per-document limits passages: add --passages"),
    ],
)
def test_what_the_command_line_refuses(arguments: list[str], problem: str) -> None:
    done = run("postgresql://127.0.0.1:1/app", "search", "letter_search", *arguments)
    assert done.exit_code == 2
    assert problem in done.stderr
