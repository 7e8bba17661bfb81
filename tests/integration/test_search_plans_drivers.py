"""The HNSW and the GIN index serve searches whoever sends them, and however plans are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    create_engine,
    text,
)
from sqlalchemy.ext.asyncio import create_async_engine

from pgsearch import SearchIndex
from pgsearch import database as product
from pgsearch import search as orm_search
from pgsearch.schema import search
from tests.integration.test_search_plans import CANDIDATES, GIN, HNSW
from tests.integration.test_search_sql import random_vector
from tests.plugins.search import ARTICLE_SEARCH, HASH_V1

#: More executions than psycopg and PostgreSQL wait for before they keep a statement and its plan.
OFTEN = 12

MODES = {"keyword": {GIN}, "vector": {HNSW}, "hybrid": {GIN, HNSW}}

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
    embeddings=[HASH_V1],
    active=HASH_V1.name,
)


@pytest.fixture(autouse=True)
def four_hundred_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FEW_ROWS", 400)


def address(db: product.Connection, driver: str) -> str:
    info = db.info
    return f"postgresql+{driver}://{info.user}@/{info.dbname}?host={info.host}&port={info.port}"


def asked(mode: str, where: Any) -> Select[Any]:
    vector = [float(value) for value in random_vector(1).strip("[]").split(",")]
    given = None if mode == "keyword" else vector
    return orm_search(
        article_search,
        "word50 word60",
        mode=mode,
        vector=given,
        where=where,
        ef_search=CANDIDATES,
    )


def with_psycopg(db: product.Connection, statement: Select[Any], plans: str) -> int:
    engine = create_engine(address(db, "psycopg"))
    with engine.connect() as connection:
        connection.execute(text(f"SET plan_cache_mode = {plans}"))
        rows = [len(connection.execute(statement).all()) for _ in range(OFTEN)]
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    engine.dispose()
    return min(rows)


def with_asyncpg(db: product.Connection, statement: Select[Any], plans: str) -> int:
    async def ask() -> int:
        engine = create_async_engine(address(db, "asyncpg"))
        async with engine.connect() as connection:
            await connection.execute(text(f"SET plan_cache_mode = {plans}"))
            rows = [len((await connection.execute(statement)).all()) for _ in range(OFTEN)]
            await connection.execute(text("SELECT pg_stat_force_next_flush()"))
        await engine.dispose()
        return min(rows)

    return asyncio.run(ask())


def scans(db: product.Connection) -> dict[str, int]:
    # What this session has counted for other tests shall not come later.
    db.execute("SELECT pg_stat_force_next_flush()")
    rows = db.execute(
        "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes WHERE indexrelname IN (%s, %s)",
        [HNSW, GIN],
    )
    return dict(rows.fetchall())


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan", "auto"])
@pytest.mark.parametrize("driver", [with_psycopg, with_asyncpg])
@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("where", [(), article.c.tenant_id != 7], ids=["all", "filtered"])
def test_each_search_is_one_scan_of_an_index(
    library: product.Connection,
    mode: str,
    driver: Callable[[product.Connection, Select[Any], str], int],
    plans: str,
    where: Any,
) -> None:
    before = scans(library)
    assert driver(library, asked(mode, where), plans) == 10
    done = {name: count - before[name] for name, count in scans(library).items()}
    assert done[HNSW] == (OFTEN if HNSW in MODES[mode] else 0)
    assert (done[GIN] >= OFTEN) == (GIN in MODES[mode])
