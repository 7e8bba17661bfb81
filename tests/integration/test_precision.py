"""Searches of every precision: what they find, how exactly, and by which graph.

Thousands of vectors in clusters, as those of texts are.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    text,
)

from pgsearch import Embedding, SearchIndex, registry, similar
from pgsearch import database as product
from pgsearch import search as orm_search
from pgsearch.lifecycle import Builder, advance
from pgsearch.schema import search as search_sql
from pgsearch.testing import hash_model
from tests.plugins.postgres import Databases
from tests.plugins.search import (
    ARTICLE_SEARCH,
    ARTICLE_TABLE,
    create,
    empty_queue,
    install,
    put_chunks,
)
from tests.plugins.worker import url_of

DIMENSIONS, ROWS, TENANTS, SUBJECTS = 128, 3000, 100, 150

MODEL = hash_model(DIMENSIONS)
EMBEDDINGS = {
    embedding.name: embedding
    for embedding in (
        Embedding("plain", MODEL),
        Embedding("half", MODEL, type="halfvec"),
        Embedding("half_graph", MODEL, index="halfvec"),
        Embedding("bits", MODEL, index="bit"),
        Embedding("half_bits", MODEL, type="halfvec", index="bit"),
    )
}

#: What the ten nearest may miss. Rounding to half precision moves none but those that are equal.
LEAST_RECALL = {"bit": 0.98, "halfvec": 0.99, "vector": 0.99}

#: With the usual number of candidates the planner rather reads all of so few chunks.
CANDIDATES = 100

#: More executions than psycopg and PostgreSQL wait for before they keep a statement and its plan.
OFTEN = 12

#: All tenants but one: a filter that leaves many rows.
WIDE = [tenant for tenant in range(TENANTS) if tenant != 7]

article = Table(
    "article",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("tenant_id", Integer),
    Column("title", Text),
    Column("body", Text),
)
article_search = SearchIndex(
    "article_search",
    article,
    text={"title": "A", "body": "B"},
    filters=["tenant_id"],
    chunking=ARTICLE_SEARCH.chunking,
    embeddings=list(EMBEDDINGS.values()),
    active="plain",
)


def hnsw(embedding: str) -> str:
    return f"article_search_{embedding}_hnsw"


def near(row: int) -> list[float]:
    """Return a row's vector, or that of a query: near others of its subject."""
    subject, own = random.Random(row % SUBJECTS), random.Random(row + ROWS)
    return [subject.gauss(0, 1) + own.gauss(0, 1) for _ in range(DIMENSIONS)]


@pytest.fixture(scope="module")
def precise(databases: Databases, vector_template: str) -> Iterator[product.Connection]:
    """A database in which the same vectors are in embeddings of every precision."""
    with (
        databases.fresh(vector_template) as url,
        product.connect(url) as connection,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(search_sql, "FEW_ROWS", 400)
        install(connection)
        connection.execute(ARTICLE_TABLE.encode())
        create(connection, ARTICLE_SEARCH, *EMBEDDINGS.values())
        connection.execute(
            "INSERT INTO article (id, tenant_id, title, body)"
            " SELECT n, n %% %s, 'Title ' || n, 'body of ' || n FROM generate_series(1, %s) AS n",
            [TENANTS, ROWS],
        )
        chunks = (((n,), 0, f"passage of {n}", near(n)) for n in range(1, ROWS + 1))
        put_chunks(connection, ARTICLE_SEARCH, "plain", chunks)
        columns = [Identifier(f"embedding_{name}") for name in EMBEDDINGS]
        assigned = (SQL("{} = {}").format(column, columns[0]) for column in columns[1:])
        connection.execute(
            SQL("UPDATE article_search_chunk SET {}").format(SQL(", ").join(assigned))
        )
        empty_queue(connection, ARTICLE_SEARCH)
        make_all_ready(connection)
        connection.execute("VACUUM ANALYZE")
        connection.execute("SELECT article_search_refresh_statistics()")
        product.register_vectors(connection)
        yield connection


def make_all_ready(connection: product.Connection) -> None:
    """Build the graphs as a worker does, one after the other."""
    connection.execute("UPDATE pgsearch.search_index SET filled_at = now()")
    connection.execute("UPDATE pgsearch.embedding SET filled_at = now()")
    builder = Builder(url_of(connection))
    while states(connection) != {"ready", "active"}:
        (index,) = registry.read(connection)
        advance(connection, index, builder)
    builder.close()


def states(db: product.Connection) -> set[str]:
    return {state for (state,) in db.execute("SELECT state FROM pgsearch.embedding")}


def found(
    db: product.Connection, embedding: str, query: list[float], **options: Any
) -> list[tuple[int, float]]:
    """Return what the search function finds: keys and similarities."""
    given = {"mode": "vector", "embedding": embedding, "vector": str(query), **options}
    named = [SQL("{} => {}").format(Identifier(name), value) for name, value in given.items()]
    call = SQL("SELECT id, similarity FROM article_search('title', {})")
    return db.execute(call.format(SQL(", ").join(named))).fetchall()


def exact(db: product.Connection, query: list[float], where: str = "true") -> dict[int, float]:
    """Return the ten nearest with their similarities, by looking at all of them."""
    ranked = (
        "SELECT id, 1 - (embedding_plain <=> {}::vector) AS similarity FROM article_search_chunk"
    )
    nearest = SQL(ranked + " WHERE {} ORDER BY similarity DESC LIMIT 10")
    return dict(db.execute(nearest.format(str(query), SQL(where))).fetchall())


def scans(db: product.Connection) -> dict[str, int]:
    """Return how often each HNSW index was scanned up to now."""
    db.execute("SELECT pg_stat_force_next_flush()")
    rows = db.execute(
        "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes WHERE indexrelname LIKE '%hnsw'"
    )
    return dict(rows.fetchall())


def test_all_are_ready(precise: product.Connection) -> None:
    assert states(precise) == {"ready", "active"}
    over = dict(
        precise.execute(
            "SELECT indexname, substring(indexdef FROM 'USING hnsw (.*) WITH') FROM pg_indexes"
            " WHERE indexname LIKE '%hnsw'"
        ).fetchall()
    )
    assert over == {
        hnsw("plain"): "(embedding_plain vector_cosine_ops)",
        hnsw("half"): "(embedding_half halfvec_cosine_ops)",
        hnsw("half_graph"): "(((embedding_half_graph)::halfvec(128)) halfvec_cosine_ops)",
        hnsw("bits"): "(((binary_quantize(embedding_bits))::bit(128)) bit_hamming_ops)",
        hnsw("half_bits"): "(((binary_quantize(embedding_half_bits))::bit(128)) bit_hamming_ops)",
    }


@pytest.mark.parametrize("name", EMBEDDINGS)
@pytest.mark.parametrize("tenants", [None, WIDE], ids=["all", "filtered"])
@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_the_nearest_are_found(
    precise: product.Connection, name: str, tenants: list[int] | None, mode: str
) -> None:
    options = {"mode": mode, "keyword_weight": 0}
    options |= {} if tenants is None else {"tenant_id_in": tenants}
    where = "true" if tenants is None else f"id % {TENANTS} <> 7"
    hits = 0
    for query in map(near, range(-20, 0)):
        nearest = exact(precise, query, where)
        hits += len(nearest.keys() & dict(found(precise, name, query, **options)).keys())
    assert hits / 200 >= LEAST_RECALL[EMBEDDINGS[name].precision.index]


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_a_similarity_is_that_of_the_column(precise: product.Connection, name: str) -> None:
    """Whatever the graph holds; that of a halfvec differs in the fourth place."""
    query = near(-7)
    hits = found(precise, name, query)
    assert [similarity for _, similarity in hits] == sorted((s for _, s in hits), reverse=True)
    nearest = exact(precise, query)
    precision = 1e-3 if EMBEDDINGS[name].type == "halfvec" else 1e-12
    for key, similarity in hits:
        if key in nearest:
            assert similarity == pytest.approx(nearest[key], abs=precision)
    passages = precise.execute(
        "SELECT id, similarity FROM article_search_passages("
        " 'title', vector => %s, mode => 'vector', embedding => %s)",
        [str(query), name],
    ).fetchall()
    assert passages == hits


@contextmanager
def sqlalchemy(db: product.Connection) -> Iterator[Connection]:
    """Yield a connection of SQLAlchemy's, whose scans are counted when it is closed."""
    engine = create_engine(product.sqlalchemy_url(url_of(db)))
    with engine.connect() as connection:
        yield connection
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    engine.dispose()


def used(db: product.Connection, before: dict[str, int]) -> dict[str, int]:
    """Return how often each HNSW index was scanned since then, of those that were."""
    return {name: n - before[name] for name, n in scans(db).items() if n > before[name]}


@pytest.mark.parametrize("name", EMBEDDINGS)
@pytest.mark.parametrize("tenants", [None, WIDE], ids=["all", "filtered"])
@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_its_own_graph_serves(
    precise: product.Connection, name: str, tenants: list[int] | None, mode: str
) -> None:
    options = {} if tenants is None else {"tenant_id_in": tenants}
    before = scans(precise)
    assert len(found(precise, name, near(-1), mode=mode, ef_search=CANDIDATES, **options)) == 10
    assert used(precise, before) == {hnsw(name): 1}


@pytest.mark.parametrize("scale", [1e6, 1e-9, 1e-30])
@pytest.mark.parametrize("name", EMBEDDINGS)
def test_only_the_direction_of_a_query_counts(
    precise: product.Connection, name: str, scale: float
) -> None:
    """In half precision numbers above 65504 would be an error, and the smallest zero."""
    query = near(-4)
    expected = found(precise, name, query)
    long = [scale * number for number in query]
    assert [key for key, _ in found(precise, name, long)] == [key for key, _ in expected]
    for key, similarity in found(precise, name, long):
        assert similarity == pytest.approx(dict(expected)[key], abs=1e-3)
    passages = (
        "SELECT id FROM article_search_passages('title', vector => %s, embedding => %s, k => 5,"
        " keyword_weight => 0)"
    )
    ranked = precise.execute(passages, [str(long), name]).fetchall()
    assert ranked == precise.execute(passages, [str(query), name]).fetchall()
    asked = orm_search(article_search, "title", mode="vector", embedding=name, vector=long)
    with sqlalchemy(precise) as connection:
        assert [row.id for row in connection.execute(asked)] == [key for key, _ in expected]


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_of_few_rows_each_is_looked_at(precise: product.Connection, name: str) -> None:
    before = scans(precise)
    query = near(-3)
    nearest = exact(precise, query, f"id % {TENANTS} = 7")
    hits = found(precise, name, query, tenant_id=7)
    assert {key for key, _ in hits} == nearest.keys()
    assert used(precise, before) == {}


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", EMBEDDINGS)
@pytest.mark.parametrize("where", [None, article.c.tenant_id != 7], ids=["all", "filtered"])
@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_its_own_graph_serves_sqlalchemy(
    precise: product.Connection, name: str, plans: str, where: Any, mode: str
) -> None:
    """As often as it takes for a statement and its plan to be kept."""
    query = near(-5)
    asked = orm_search(
        article_search,
        "title",
        mode=mode,
        embedding=name,
        vector=query,
        where=where,
        ef_search=CANDIDATES,
        keyword_weight=0.0 if mode == "hybrid" else None,
    )
    before = scans(precise)
    with sqlalchemy(precise) as connection:
        connection.execute(text(f"SET plan_cache_mode = {plans}"))
        for _ in range(OFTEN):
            rows = [(row.id, row.similarity) for row in connection.execute(asked)]
    assert used(precise, before) == {hnsw(name): OFTEN}
    options = {"mode": mode, "keyword_weight": 0, "ef_search": CANDIDATES}
    options |= {} if where is None else {"tenant_id_in": WIDE}
    assert rows == found(precise, name, query, **options)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_rows_like_another_are_found(precise: product.Connection, name: str) -> None:
    """What is stored is compared with what is stored, widened where it is a halfvec."""
    example = near(42)
    (first, *others) = exact(precise, example).items()
    assert first[0] == 42
    with sqlalchemy(precise) as connection:
        like = similar(article_search, 42, embedding=name, limit=9)
        rows = {row.id: row.similarity for row in connection.execute(like)}
        twin = similar(article_search, 42, embedding=name, min_similarity=0.999999)
        assert connection.execute(twin).all() == []
        unlike = similar(article_search, [42, 43], unlike=44, embedding=name)
        assert len(connection.execute(unlike).all()) == 10
    assert 42 not in rows
    assert len(rows.keys() & dict(others).keys()) >= 8
    for key, similarity in others:
        assert rows.get(key, similarity) == pytest.approx(similarity, abs=1e-3)


def test_embeddings_take_turns(precise: product.Connection) -> None:
    """Which one answers is one row of the registry, whatever graph it has."""
    query = near(-9)
    try:
        for name in (*EMBEDDINGS, "plain"):
            precise.execute(
                "SELECT pgsearch.activate_embedding('public', 'article_search', %s)", [name]
            )
            before = scans(precise)
            hits = precise.execute(
                "SELECT id, similarity FROM article_search("
                " 'title', vector => %s, mode => 'vector', ef_search => %s)",
                [str(query), CANDIDATES],
            ).fetchall()
            assert used(precise, before) == {hnsw(name): 1}
            assert hits == found(precise, name, query, ef_search=CANDIDATES)
    finally:
        precise.execute("SELECT pgsearch.activate_embedding('public', 'article_search', 'plain')")


def test_a_thousand_are_found_by_bits(precise: product.Connection) -> None:
    """More than a scan keeps at once."""
    hits = found(precise, "bits", near(-2), k=1000)
    assert len(hits) == 1000
    assert [s for _, s in hits] == sorted((s for _, s in hits), reverse=True)
