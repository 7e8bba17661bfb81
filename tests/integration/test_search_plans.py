"""The plans of searches, on thousands of chunks: which index serves which part."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.sql import SQL, Composable, Identifier, Literal

from pgsearch import database as product
from pgsearch.schema import search
from tests.plugins.search import ARTICLE_SEARCH, HASH_V1

HNSW, GIN = "article_search_hash_v1_hnsw", "article_search_document_tsv_idx"
CHUNK_KEY, DOCUMENT_KEY = "article_search_chunk_pkey", "article_search_document_pkey"

#: With the usual number of candidates the planner rather reads all of so few chunks, and is right.
CANDIDATES = 100

Plan = dict[str, Any]


@pytest.fixture(autouse=True)
def four_hundred_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is smaller than what is few otherwise."""
    monkeypatch.setattr(search, "FEW_ROWS", 400)


def statement(query: str, mode: str, where: str = "", k: int = 10) -> str:
    """Return the statement inside the search function, with everything that it is given in it."""
    draw = random.Random(2)
    column = ARTICLE_SEARCH.names.embedding_column(HASH_V1.name)
    vector = SQL("{}::vector").format(Literal(str([draw.gauss(0, 1) for _ in range(64)])))
    depth = 100 if mode == "hybrid" else k
    request: dict[str, Composable] = {
        "query": Literal(query),
        "k": Literal(k),
        "skip": Literal(0),
        "given": SQL(""),
        "vector": vector,
        "vector_with_settings": vector,
        "has_vector": SQL("{} IS NOT NULL").format(Identifier("chunk", column)),
        "depth": Literal(depth),
        "chunks": Literal(depth + depth // 2 + 10),
        "similarity_stddev": Literal(0.125),
        "encoder": Literal("caller"),
        "condition": SQL("pgsearch.query_condition('english', {})").format(query),
        "keyword_weight": Literal(4),
        "configuration": SQL("'english'::regconfig"),
        "terms_configuration": SQL(""),
        "embedding": Identifier("chunk", column),
    }
    rows = SQL("SELECT source.id FROM article AS source WHERE " + where) if where else None
    return search.search_statement(
        ARTICLE_SEARCH, mode, request, rows=rows, is_conditional="-" in query
    )


def plan(db: product.Connection, query: str, mode: str, where: str = "") -> Plan:
    """Execute a search and return its plan, with what happened."""
    db.execute(f"SET hnsw.ef_search = {CANDIDATES}".encode())
    db.execute("SET hnsw.iterative_scan = relaxed_order")
    explain = "EXPLAIN (ANALYZE, FORMAT json, COSTS off, TIMING off) "
    row = db.execute((explain + statement(query, mode, where)).encode()).fetchone()
    assert row is not None
    return dict(row[0][0]["Plan"])


def nodes(node: Plan) -> Iterator[Plan]:
    yield node
    for child in node.get("Plans", ()):
        yield from nodes(child)


def part(whole: Plan, name: str) -> list[Plan]:
    """Return the nodes of a common table expression."""
    (found,) = (node for node in nodes(whole) if node.get("Subplan Name") == f"CTE {name}")
    return list(nodes(found))


def executed(found: list[Plan]) -> dict[str, float]:
    """Return how often each index was scanned and each table read, of what was executed."""
    loops: dict[str, float] = {}
    for node in found:
        scanned = node.get("Index Name") or node.get("Relation Name")
        if scanned and node["Node Type"] != "Bitmap Heap Scan" and node["Actual Loops"]:
            loops[scanned] = loops.get(scanned, 0) + node["Actual Loops"]
    return loops


@pytest.mark.parametrize(("mode", "chunks"), [("vector", 25), ("hybrid", 160)])
def test_the_vector_leg_is_one_scan_of_the_hnsw_index(
    library: product.Connection, mode: str, chunks: int
) -> None:
    whole = plan(library, "word50 word60", mode)
    nearest = part(whole, "nearest")
    assert executed(nearest) == {HNSW: 1}
    (scan,) = (node for node in nearest if node.get("Index Name") == HNSW)
    assert scan["Actual Rows"] == chunks
    assert [node["Node Type"] for node in nearest if "Sort" in node["Node Type"]] == []
    assert executed(part(whole, "further")) == {}


def test_the_keyword_leg_is_served_by_the_gin_index(library: product.Connection) -> None:
    for mode in ("keyword", "hybrid"):
        leg = part(plan(library, "word50 word60", mode), "keyword_leg")
        assert set(executed(leg)) == {GIN}


def test_a_condition_is_met_by_the_gin_index(library: product.Connection) -> None:
    leg = part(plan(library, "word50 -word5", "keyword"), "keyword_leg")
    assert set(executed(leg)) == {GIN}
    conditions = [node["Index Cond"] for node in leg if node.get("Index Name") == GIN]
    assert any("rarest" in condition for condition in conditions)
    assert [node for node in leg if node.get("Rows Removed by Filter")] == []


def test_what_a_leg_has_found_is_scored_by_primary_key_in_the_other(
    library: product.Connection,
) -> None:
    """Exact scores are those of a handful of rows: no second scan of the HNSW index."""
    whole = plan(library, "word50 word60", "hybrid")
    scored = executed(part(whole, "scored"))
    assert HNSW not in scored
    assert 0 < scored[CHUNK_KEY] <= 100
    assert 0 < scored[DOCUMENT_KEY] <= 100


def test_passages_are_read_by_primary_key(library: product.Connection) -> None:
    whole = plan(library, "word50 word60", "hybrid")
    (last,) = (node for node in nodes(whole) if node.get("Index Name") == CHUNK_KEY and
               node["Actual Loops"] == 10)  # fmt: skip
    assert last["Actual Rows"] == 1


@pytest.mark.parametrize("mode", ["keyword", "vector", "hybrid"])
def test_of_few_rows_each_is_looked_at(library: product.Connection, mode: str) -> None:
    """Of 1 % of the rows the vectors are compared one by one, without the HNSW index."""
    whole = plan(library, "word50", mode, "source.tenant_id = 7")
    if mode != "keyword":
        nearest = executed(part(whole, "nearest"))
        assert HNSW not in nearest
        assert nearest[CHUNK_KEY] == 40
        assert executed(part(whole, "further")) == {}
    if mode != "vector":
        leg = executed(part(whole, "keyword_leg"))
        assert leg == {DOCUMENT_KEY: 40}


def test_counting_ends_where_rows_are_too_many(library: product.Connection) -> None:
    (few, *_) = part(plan(library, "word50", "vector", "source.tenant_id <> 7"), "few")
    assert few["Actual Rows"] == 401


@pytest.mark.parametrize(("mode", "chunks"), [("vector", 25), ("hybrid", 160)])
def test_a_wide_filter_goes_through_the_hnsw_index(
    library: product.Connection, mode: str, chunks: int
) -> None:
    nearest = part(plan(library, "word50", mode, "source.tenant_id <> 7"), "nearest")
    assert executed(nearest)[HNSW] == 1
    assert nearest[0]["Actual Rows"] == chunks
    assert CHUNK_KEY not in executed(nearest)


def test_a_condition_goes_through_the_hnsw_index(library: product.Connection) -> None:
    """It is asked for each chunk that the scan comes to, until there are enough."""
    nearest = part(plan(library, "word50 -word5", "vector"), "nearest")
    assert executed(nearest)[HNSW] == 1
    assert nearest[0]["Actual Rows"] == 25
    assert 25 < executed(nearest)[DOCUMENT_KEY] < 500


def test_common_terms_do_not_bring_every_document(library: product.Connection) -> None:
    """Work is bounded: the rarest terms bring documents, those of the others only score."""
    leg = part(plan(library, "word1 word2 word200 word300", "keyword"), "keyword_leg")
    brought = sum(n["Actual Rows"] for n in leg if n["Node Type"] == "Bitmap Heap Scan")
    ((rare, common),) = library.execute(
        "SELECT count(*) FILTER (WHERE tsv @@ 'word200 | word300'),"
        " count(*) FILTER (WHERE tsv @@ 'word1') FROM article_search_document"
    ).fetchall()
    assert common > 3500
    assert 100 < brought == rare < 300


def scans(db: product.Connection) -> dict[str, int]:
    """Return how often each index of the search index was scanned up to now."""
    db.execute("SELECT pg_stat_force_next_flush()")
    rows = db.execute(
        "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes"
        " WHERE relname LIKE 'article_search%'"
    )
    return dict(rows.fetchall())


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan", "auto"])
@pytest.mark.parametrize(
    ("mode", "expected"),
    [("keyword", {GIN}), ("vector", {HNSW}), ("hybrid", {GIN, HNSW, CHUNK_KEY})],
)
def test_the_function_uses_them_too(
    library: product.Connection, mode: str, expected: set[str], plans: str
) -> None:
    """In a session's first searches, and later, when PL/pgSQL has decided for a plan to keep."""
    library.execute(f"SET plan_cache_mode = {plans}".encode())
    before, often = scans(library), 8
    for number in range(often):
        found = library.execute(
            "SELECT id FROM article_search('word50 word60', vector => %s, mode => %s,"
            " ef_search => %s)",
            [str([1] * 63 + [number]), mode, CANDIDATES],
        ).fetchall()
        assert len(found) == 10
    used = {name: count - before[name] for name, count in scans(library).items()}
    assert {name for name, count in used.items() if count} >= expected
    assert used[HNSW] == often * (HNSW in expected)
    assert used[GIN] >= often if GIN in expected else used[GIN] == 0
