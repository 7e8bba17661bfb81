"""Search quality and latency on a test collection, through the product's own path.

    python -m bench.quality --data FOLDER [--embeddings-cache FOLDER] [--encoder database]

A fresh database, on the server of DATABASE_URL or on the embedded one, is
migrated with the standalone migrations, filled by COPY, synchronised by a worker,
asked every judged query through the SQL function, and dropped.

Each mode (keyword, vector, hybrid) is asked twice. The first pass takes k => 100
and gives nDCG@10 and recall@100. The second takes k => 10, on the same
connection, and gives the latencies: one query at a time, from the call to the
last row. The query's vector is made before and is not in them; what the model
takes for one query is `embed_query_p50_ms`, over the first hundred queries.

With --embeddings-cache, vectors are kept by content, and a second run takes
seconds: `embedded` then says 0, and `sync` is not the time that the model takes.

Beside them stand the figures of what the legs approximate, computed in full in the
same run: `bm25_ndcg10`, BM25 over the same tokens with exact frequencies, and
`exact_ndcg10`, by the distance of every chunk. Hybrid by rank fusion is `rrf_ndcg10`.

With --encoder database, queries are asked once more with text alone, for which the
database makes the vector: `database_vector_ndcg10` and `database_hybrid_ndcg10`, and as
a share of what the model's vectors give. Its encoder is built of the collection's
documents; none of the queries was among what it was trained on, so `queries_cosine` is
its fidelity to texts that it does not know. `encode` is the call of
document_search_embed, `text_only` a whole search with text alone.

Some collections have targets of their own. The exit status is 1 if a target is missed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import click
from psycopg import sql

from bench.embeddings_cache import CachedEmbedder
from bench.exact import BM25, nearest
from bench.report import percentile, progress, report
from pgsearch import database
from pgsearch.declare import Model
from pgsearch.errors import Error
from pgsearch.evaluate.collection import Collection, read_beir
from pgsearch.evaluate.metrics import ndcg, recall
from pgsearch.models.protocol import Embedder

if TYPE_CHECKING:
    from pgvector import Vector
    from rich.progress import Progress

MODES = ("keyword", "vector", "hybrid")

#: How far a leg may stay behind what it approximates, on any collection.
_BEHIND = {"keyword_behind_bm25": "<= 0.003", "vector_behind_exact": "<= 0.002"}

TARGETS = {
    "scifact": {
        "keyword_ndcg10": ">= 0.660",
        "vector_ndcg10": ">= 0.640",
        "hybrid_ndcg10": ">= 0.712",
    },
    "cosqa": {"hybrid_ndcg10": ">= 0.590"},
}

#: How near the database's own vectors have to come to the model's, on any collection.
_NEAR = {
    "database_hybrid_share": ">= 0.98",
    "database_vector_share": ">= 0.93",
    "encode_p50_ms": "<= 3",
    "encode_p95_ms": "<= 6",
}

_SEARCH = "SELECT id FROM document_search(%s, k => %s, vector => %s, mode => %s, fusion => %s)"

#: Queries that are embedded one by one to time the model.
_TIMED_EMBEDDINGS = 100

Report = Callable[[str, float, str], None]


class Question(NamedTuple):
    """A judged query: its text, its vector if it is given, the grades of documents by row id."""

    text: str
    vector: Vector | None
    relevant: dict[int, int]


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="A collection in BEIR's layout: corpus.jsonl, queries.jsonl, qrels.tsv.",
)
@click.option(
    "--embeddings-cache",
    "cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where vectors are kept between runs.",
)
@click.option(
    "--encoder",
    type=click.Choice(["model", "database"]),
    default="model",
    show_default=True,
    help="What makes the vectors of queries; with the database, both do.",
)
def main(data: Path, cache: Path | None, encoder: str) -> None:
    """Measure search quality and latency on a test collection."""
    try:
        met = measure(data, cache, with_database=encoder == "database")
    except Error as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if met else 1)


def measure(data: Path, cache: Path | None, *, with_database: bool = False) -> bool:
    """Run the bench; return whether every target was met.

    Raises:
        Error: The collection cannot be read, or a part of the product fails.
    """
    case = data.resolve().name
    collection = read_beir(data)
    targets = _BEHIND | _NEAR | TARGETS.get(case, {})
    outcomes: list[bool | None] = []

    def tell(metric: str, value: float, unit: str) -> None:
        outcomes.append(report(case, metric, value, unit, targets.get(metric)))

    with _embedders(cache) as load, fresh_database() as url, progress() as display:
        _migrate(url)
        ids = _fill(url, collection, tell, display)
        _synchronise(url, load, len(ids), tell, display)
        questions = _embed_queries(collection, ids, load, tell)
        with database.connect(url) as connection:
            database.register_vectors(connection)
            found = {
                mode: _measure_quality(connection, mode, questions, tell, display) for mode in MODES
            }
            _compare(connection, questions, found, tell, display)
            for mode in MODES:
                _measure_latency(connection, mode, questions, tell, display)
        if with_database:
            _distill(url, load, tell, display)
            with database.connect(url) as connection:
                database.register_vectors(connection)
                _measure_encoder(connection, questions, found, tell, display)
    return False not in outcomes


@contextmanager
def fresh_database() -> Iterator[str]:
    """Create an empty database; yield its URL, then drop it.

    It is made on the server of DATABASE_URL, or on the embedded server.
    """
    server = database.database_url()
    name = f"pgsearch_bench_{os.getpid()}"
    identifier = sql.Identifier(name)
    with database.connect(server) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(identifier))
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with database.connect(server) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


@contextmanager
def _embedders(cache: Path | None) -> Iterator[Callable[[Model], Embedder]]:
    """Yield what loads a model, behind the cache if there is one."""
    from pgsearch import models

    if cache is None:
        yield models.load
        return
    made: dict[Model, CachedEmbedder] = {}

    def load(model: Model) -> Embedder:
        if model not in made:
            made[model] = CachedEmbedder(models.load(model), model, cache)
        return made[model]

    try:
        yield load
    finally:
        for embedder in made.values():
            embedder.close()


def _migrate(url: str) -> None:
    from alembic import command

    from pgsearch.cli.migrate import configuration

    command.upgrade(configuration(url), "head")


def _fill(url: str, collection: Collection, tell: Report, display: Progress) -> dict[str, int]:
    """Copy the documents into the table `document`; return row ids by document id."""
    ids = {document: number for number, document in enumerate(collection.documents, start=1)}
    started = time.perf_counter()
    with (
        database.connect(url) as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY document (id, title, body) FROM STDIN") as copy,
    ):
        documents = collection.documents.items()
        for name, document in display.track(documents, description="COPY"):
            copy.write_row((ids[name], document.title, document.text))
    tell("rows", len(ids), "rows")
    tell("load", time.perf_counter() - started, "s")
    return ids


def _synchronise(
    url: str, load: Callable[[Model], Embedder], rows: int, tell: Report, display: Progress
) -> None:
    """Let a worker embed everything, build the index and activate the embedding."""
    from pgsearch import sync

    task = display.add_task("embed", total=rows)

    def show(state: sync.Progress) -> None:
        display.update(task, description=state.step)
        if state.step == "embed":
            display.advance(task, state.done)

    done = sync.Worker(url, load=load, distill=False, on_progress=show).drain()
    if done.failed:
        raise Error(f"The model failed on {done.failed} documents.", hint="See the log above.")
    embedder = load(_model())
    tell("chunks", done.chunks, "chunks")
    tell(
        "embedded",
        embedder.embedded if isinstance(embedder, CachedEmbedder) else done.embedded,
        "texts",
    )
    tell("sync", done.seconds, "s")


def _model() -> Model:
    """Return the model of the standalone migrations' embedding."""
    from pgsearch.canonical import MINILM

    return MINILM


def _embed_queries(
    collection: Collection,
    ids: Mapping[str, int],
    load: Callable[[Model], Embedder],
    tell: Report,
) -> list[Question]:
    """Return the judged queries with their vectors, and time the model on some of them."""
    from pgsearch import models

    queries = collection.judged_queries
    if not queries:
        raise Error("No query of the collection has a relevant document.")
    model = models.load(_model())
    model.embed_queries(["the first call also warms up"])
    seconds = []
    for text in list(queries.values())[:_TIMED_EMBEDDINGS]:
        started = time.perf_counter()
        model.embed_queries([text])
        seconds.append(time.perf_counter() - started)
    tell("queries", len(queries), "queries")
    tell("embed_query_p50_ms", 1000 * percentile(seconds, 50), "ms")
    vectors = load(_model()).embed_queries(list(queries.values()))
    return [
        Question(
            text,
            vector,
            {ids[name]: grade for name, grade in collection.judgements[query].items()},
        )
        for (query, text), vector in zip(queries.items(), vectors, strict=True)
    ]


def _measure_quality(
    connection: database.Connection,
    mode: str,
    questions: Sequence[Question],
    tell: Report,
    display: Progress,
) -> float:
    """Report how good a mode is; return its nDCG@10."""
    gains, recalls = [], []
    for question in display.track(questions, description=f"{mode}, k = 100"):
        ranked = _ask(connection, mode, question, 100)
        gains.append(ndcg(ranked, question.relevant, 10))
        recalls.append(recall(ranked, question.relevant, 100))
    tell(f"{mode}_ndcg10", fmean(gains), "nDCG")
    tell(f"{mode}_recall100", fmean(recalls), "share")
    return fmean(gains)


def _compare(
    connection: database.Connection,
    questions: Sequence[Question],
    found: Mapping[str, float],
    tell: Report,
    display: Progress,
) -> None:
    """Report what the legs approximate, how far they stay behind, and another fusion."""
    bm25 = BM25(connection)
    ways: dict[str, Callable[[Question], Sequence[int]]] = {
        "bm25": lambda question: bm25.rank(question.text, 10),
        "exact": lambda question: nearest(connection, _vector(question), 10),
        "rrf": lambda question: _ask(connection, "hybrid", question, 100, fusion="rrf"),
    }
    reached = {}
    for name, way in ways.items():
        tracked = display.track(questions, description=name)
        reached[name] = fmean(ndcg(way(question), question.relevant, 10) for question in tracked)
        tell(f"{name}_ndcg10", reached[name], "nDCG")
    tell("keyword_behind_bm25", reached["bm25"] - found["keyword"], "nDCG")
    tell("vector_behind_exact", reached["exact"] - found["vector"], "nDCG")


def _distill(url: str, load: Callable[[Model], Embedder], tell: Report, display: Progress) -> None:
    """Build the encoder in the database of the collection's documents."""
    from pgsearch import encoder, registry
    from pgsearch.cli.distill import show

    with database.connect(url, row_security=True) as connection:
        (index,) = registry.read(connection)
        assert index.active is not None
        built = encoder.distill(
            connection,
            index,
            index.active,
            load(_model()),
            is_asked=True,
            on_step=show(display),
        )
        assert built is not None
        size = connection.execute("SELECT pg_total_relation_size('document_search_token')")
        row = size.fetchone()
    assert row is not None
    tell("distill", built.seconds, "s")
    tell("encoder_tokens", built.tokens, "tokens")
    tell("encoder_size", row[0] / 1e6, "MB")
    tell("held_cosine", built.fidelity.cosine, "cosine")
    if built.fidelity.neighbours is not None:
        tell("held_neighbours", built.fidelity.neighbours, "share")


def _measure_encoder(
    connection: database.Connection,
    questions: Sequence[Question],
    found: Mapping[str, float],
    tell: Report,
    display: Progress,
) -> None:
    """Report how good searches with text alone are, and what they take."""
    import numpy as np

    seconds, cosines, unanswered = [], [], 0
    for question in display.track(questions, description="encode"):
        started = time.perf_counter()
        row = connection.execute("SELECT document_search_embed(%s)", [question.text]).fetchone()
        seconds.append(time.perf_counter() - started)
        if row is None or row[0] is None:
            unanswered += 1
            continue
        made, wanted = row[0].to_numpy(), _vector(question).to_numpy()
        cosines.append(float(made @ wanted / np.linalg.norm(made) / np.linalg.norm(wanted)))
    tell("encode_p50_ms", 1000 * percentile(seconds, 50), "ms")
    tell("encode_p95_ms", 1000 * percentile(seconds, 95), "ms")
    tell("queries_cosine", fmean(cosines) if cosines else 0.0, "cosine")
    tell("queries_without_vector", unanswered, "queries")
    asked = [question._replace(vector=None) for question in questions]
    for mode in ("vector", "hybrid"):
        gains = [
            ndcg(_ask(connection, mode, question, 100), question.relevant, 10)
            for question in display.track(asked, description=f"{mode} by text alone")
        ]
        tell(f"database_{mode}_ndcg10", fmean(gains), "nDCG")
        tell(f"database_{mode}_share", fmean(gains) / max(found[mode], 1e-9), "share")
    _measure_latency(connection, "hybrid", asked, tell, display, name="text_only")


def _measure_latency(
    connection: database.Connection,
    mode: str,
    questions: Sequence[Question],
    tell: Report,
    display: Progress,
    name: str = "",
) -> None:
    name, milliseconds = name or mode, []
    for question in display.track(questions, description=f"{mode}, k = 10"):
        started = time.perf_counter()
        _ask(connection, mode, question, 10)
        milliseconds.append(1000 * (time.perf_counter() - started))
    tell(f"{name}_p50_ms", percentile(milliseconds, 50), "ms")
    tell(f"{name}_p95_ms", percentile(milliseconds, 95), "ms")


def _vector(question: Question) -> Vector:
    assert question.vector is not None, "only asked with text alone without"
    return question.vector


def _ask(
    connection: database.Connection, mode: str, question: Question, k: int, fusion: str = "exact"
) -> list[int]:
    """Return row ids, best first."""
    vector = None if mode == "keyword" else question.vector
    asked = (question.text, k, vector, mode, fusion)
    return [row[0] for row in connection.execute(_SEARCH, asked)]


if __name__ == "__main__":
    main()
