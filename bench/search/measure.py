"""Both tables of one size, all ways of asking, and how near what they find is to the truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from psycopg.sql import SQL, Identifier

from bench.processes import Process
from bench.quality import fresh_database
from bench.report import percentile, progress
from bench.search.corpus import BUCKETS, Corpus, Maker, Query
from bench.search.langchain_environment import LANGCHAIN
from bench.search.tables import give_memory, make_by_hand, make_encoder, make_searched
from bench.search.ways import Answer, Ask, K, Way, Ways
from pgsearch import database

#: Buckets that a filter leaves, of a thousand: all, a half, a tenth, a hundredth, a thousandth.
FILTERS: Final = (BUCKETS, 500, 100, 10, 1)

#: What asks langchain-postgres; it cannot be imported here.
_LANGCHAIN: Final = Path(__file__).parent.resolve() / "langchain_asker.py"

#: Memory for the build of a graph; the server of the bench is its own.
_BUILD_MEMORY: Final = "3GB"

#: Queries that each way is asked before it is timed, by others.
_WARM: Final = 20

#: Reads all files of an index, 16 MB at a time: there is no other way to see all of a graph.
_READ_FILES: Final = """
WITH RECURSIVE part (number, file) AS (
  SELECT 0, pg_relation_filepath(%(name)s::regclass)
  UNION ALL
  SELECT number + 1, pg_relation_filepath(%(name)s::regclass) || '.' || (number + 1)
  FROM part
  WHERE (pg_stat_file(pg_relation_filepath(%(name)s::regclass) || '.' || (number + 1), true)).size
    IS NOT NULL
)
SELECT sum(length(pg_read_binary_file(file, start, 16777216)))
FROM part, generate_series(0, (pg_stat_file(file)).size - 1, 16777216) AS start
"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
        rows: Documents.
        queries: Queries that are timed.
        judged: Other queries, whose recall is looked at.
        with_langchain: Whether langchain-postgres is asked too.
    """

    rows: int
    queries: int = 300
    judged: int = 100
    with_langchain: bool = True


@dataclass
class Seen:
    """What was seen of one size.

    Args:
        settings: What was measured.
        seconds: By way: of each query, in order.
        recall: By way and buckets: the share of the ten nearest documents that was found.
        filtered: By way and buckets: the seconds of each query under that filter.
        blocks_read: Blocks that a search has read from outside the shared buffers, on average.
    """

    settings: Settings
    seconds: dict[str, list[float]] = field(default_factory=dict)
    recall: dict[str, dict[int, float]] = field(default_factory=dict)
    filtered: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    blocks_read: float = 0

    def ms(self, way: str, p: float) -> float:
        """Return a percentile of what a way took, in milliseconds."""
        return 1000 * percentile(self.seconds[way], p)

    def to_json(self) -> dict[str, Any]:
        """Return everything that was seen."""
        return asdict(self)


def measure(settings: Settings, say: Say) -> Seen:
    """Make the tables of one size and ask.

    Raises:
        Error: A part of the product or a peer fails.
    """
    say(f"making {settings.rows} documents")
    maker = Maker(settings.rows)
    corpus = maker.corpus()
    timed = maker.queries(corpus, settings.queries)
    judged = maker.queries(corpus, settings.judged)
    seen = Seen(settings)
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database())
        connection = stack.enter_context(database.connect(url))
        connection.execute("CREATE EXTENSION vector")
        database.register_vectors(connection)
        give_memory(connection, _BUILD_MEMORY)
        with progress() as display:
            make_by_hand(connection, corpus, display, say)
            make_searched(connection, url, corpus, display)
        make_encoder(connection, corpus)
        ways = Ways(connection)
        ways.set_up()
        asked = ways.all()
        if settings.with_langchain:
            asked.append(Way("langchain", _langchain(stack, url, say), 0.2))
        say("asking")
        _warm(connection)
        for way in asked:
            for query in judged[: max(2, round(way.share * _WARM))]:
                way.ask(query, BUCKETS)
        before = _blocks_read(connection)
        _time(asked, timed, seen)
        searches = sum(map(len, seen.seconds.values()))
        seen.blocks_read = (_blocks_read(connection) - before) / searches
        for name, ask in (("vector", ways.searched("vector")), ("by_hand", ways.vector_by_hand)):
            _judge(name, ask, corpus, judged, seen)
    return seen


def _warm(connection: database.Connection) -> None:
    """Read all vectors, rows and graphs once: what is measured is not how fast a disk is."""
    for column, table in (("embedding", "plain"), ("embedding_made", "article_search_chunk")):
        connection.execute(
            SQL("SELECT max({0} <=> (SELECT {0} FROM {1} LIMIT 1)) FROM {1}").format(
                Identifier(column), Identifier(table)
            )
        )
    connection.execute("SELECT count(tsv @@ 'word') FROM article_search_document")
    connection.execute("SELECT count(tsv @@ 'word'), max(bucket) FROM plain")
    for name in ("plain_hnsw", "article_search_made_hnsw"):
        connection.execute(_READ_FILES.encode(), {"name": name})


def _blocks_read(connection: database.Connection) -> int:
    """Return how many blocks the sessions of this database have read so far."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    row = connection.execute(
        "SELECT blks_read FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])


def _time(ways: Sequence[Way], queries: Sequence[Query], seen: Seen) -> None:
    """Ask every way in turn, query by query, so that what disturbs one disturbs all."""
    for number, query in enumerate(queries):
        for way in ways:
            if number < max(2, way.share * len(queries)):
                taken = way.ask(query, BUCKETS).seconds
                seen.seconds.setdefault(way.name, []).append(taken)


def _judge(name: str, ask: Ask, corpus: Corpus, queries: Sequence[Query], seen: Seen) -> None:
    """Compare what a way finds with the nearest documents, by every filter."""
    for buckets in FILTERS:
        shares, seconds = [], []
        for query in queries:
            nearest = corpus.nearest(query.vector, buckets, K)
            found, taken = ask(query, buckets)
            seconds.append(taken)
            shares.append(len(set(found) & set(nearest)) / len(nearest))
        seen.recall.setdefault(name, {})[buckets] = fmean(shares)
        seen.filtered.setdefault(name, {})[buckets] = seconds


def _langchain(stack: ExitStack, url: str, say: Say) -> Ask:
    """Start a process of langchain-postgres; return the way to ask it."""
    python = LANGCHAIN.python(say)
    peer = url.replace("postgresql://", "postgresql+psycopg://", 1)
    command = [str(python), "-P", str(_LANGCHAIN), peer, "plain"]
    process = stack.enter_context(Process("langchain-postgres", command))
    process.read()

    def ask(query: Query, buckets: int) -> Answer:
        below = None if buckets == BUCKETS else buckets
        question = {"text": query.text, "vector": query.vector.tolist(), "k": K, "below": below}
        answer = json.loads(process.ask(json.dumps(question), timeout_s=300))
        return Answer(answer["ids"], answer["seconds"])

    return ask
