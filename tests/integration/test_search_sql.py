"""The search function: what a result says, what it refuses, and what filters and changes do."""

from __future__ import annotations

import math
import random
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch.schema.embedding import deactivate_embedding, drop_embedding
from pgsearch.sync import Worker
from tests.plugins.search import LIBRARY_TENANTS, execute_all, vector_of

MODES = ("keyword", "vector", "hybrid")


class Hit(NamedTuple):
    """A row of the search function, as its type says."""

    id: int
    score: float
    keyword_score: float | None
    keyword_rank: int | None
    similarity: float | None
    vector_rank: int | None
    passage: str | None
    stale: bool
    encoder: str


def search(db: psycopg.Connection[Any], query: str, **arguments: Any) -> list[Hit]:
    """Call the search function with named arguments."""
    given = [SQL("{} => {}").format(Identifier(name), value) for name, value in arguments.items()]
    call = SQL("SELECT * FROM article_search({})").format(SQL(", ").join([SQL("%s"), *given]))
    return [Hit(*row) for row in db.execute(call, [query])]


def random_vector(seed: int) -> str:
    draw = random.Random(seed)
    return str([draw.gauss(0, 1) for _ in range(64)])


@pytest.fixture
def three(articles: str, db: product.Connection) -> product.Connection:
    """A connection to a database with three embedded articles and statistics."""
    db.execute(
        "INSERT INTO article (id, tenant_id, title, body) VALUES"
        " (1, 1, 'Cats', 'A cat sleeps on the mat.'),"
        " (2, 1, 'Dogs', 'A dog barks at the moon.'),"
        " (3, 2, 'Pets', 'The cat and the dog are friends.')"
    )
    assert Worker(articles).drain().entered == ["hash_v1: ready", "hash_v1: active"]
    return db


# What a result says


def test_keyword(three: product.Connection) -> None:
    cats, pets = search(three, "cat", mode="keyword")
    assert (cats.id, pets.id) == (1, 3)
    assert cats.score == cats.keyword_score
    assert cats.keyword_rank == 1
    assert pets.keyword_rank == 2
    assert cats[4:6] == (None, None)
    assert cats.passage == "Cats\n\nA cat sleeps on the mat."
    assert not cats.stale


def test_vector(three: product.Connection) -> None:
    question = "A dog barks at the moon."
    hits = search(three, question, mode="vector", vector=vector_of(question))
    assert hits[0].id == 2
    assert [hit.vector_rank for hit in hits] == [1, 2, 3]
    assert all(hit.score == hit.similarity and hit.keyword_rank is None for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    exact = three.execute(
        "SELECT id, 1 - (embedding_hash_v1 <=> %s) FROM article_search_chunk",
        [vector_of(question)],
    ).fetchall()
    assert {hit.id: hit.similarity for hit in hits} == pytest.approx(dict(exact))


def test_hybrid(three: product.Connection) -> None:
    """Similarity in units of its spread, plus four times BM25 as a share of its bound."""
    question = "the cat of unknown zebras"
    hits = search(three, question, vector=vector_of(question))
    assert sorted(hit.id for hit in hits) == [1, 2, 3]
    ((spread, bound),) = three.execute(
        "SELECT similarity_stddev, (SELECT sum(idf) FROM article_search_terms(%s))"
        " FROM pgsearch.embedding",
        [question],
    ).fetchall()
    for hit in hits:
        assert hit.similarity is not None
        keyword = hit.keyword_score or 0
        assert hit.score == pytest.approx(hit.similarity / spread + 4 * keyword / bound)
        assert (hit.keyword_rank is None) == (hit.id == 2)
    assert {hit.id: hit.keyword_score for hit in hits}[2] == 0


def test_hybrid_without_a_vector_is_keyword_search(three: product.Connection) -> None:
    hybrid, keyword = search(three, "cat dog"), search(three, "cat dog", mode="keyword")
    assert [hit.id for hit in hybrid] == [hit.id for hit in keyword]
    assert all(hit.similarity is None and hit.vector_rank is None for hit in hybrid)


def test_hybrid_before_an_embedding_is_active(db: product.Connection) -> None:
    db.execute("INSERT INTO article (title) VALUES ('cats'), ('dogs')")
    (hit,) = search(db, "cat", vector=vector_of("cat"))
    assert hit[3:] == (1, None, None, None, False, "none")


def test_a_query_of_stop_words_is_answered_by_its_vector(three: product.Connection) -> None:
    hits = search(three, "to be or not to be", vector=vector_of("dog"))
    assert [hit.vector_rank for hit in hits] == [1, 2, 3]
    assert all(hit.keyword_rank is None for hit in hits)


def test_a_document_without_vectors_is_found_by_keywords(three: product.Connection) -> None:
    three.execute("INSERT INTO article (id, title) VALUES (4, 'A new cat')")
    hits = {hit.id: hit for hit in search(three, "new cat", vector=vector_of("new cat"))}
    new = hits[4]
    assert new.keyword_rank == 1
    assert (new.similarity, new.vector_rank, new.passage, new.stale) == (None, None, None, False)
    assert math.isfinite(new.score)
    assert 4 not in {h.id for h in search(three, "cat", mode="vector", vector=vector_of("cat"))}


def test_the_best_chunk_speaks_for_its_document(library: product.Connection) -> None:
    row = library.execute(
        "SELECT embedding_hash_v1 FROM article_search_chunk WHERE id = 3210 AND ordinal = 2"
    ).fetchone()
    assert row is not None
    for mode in ("vector", "hybrid"):
        best, *others = search(library, "title", mode=mode, vector=row[0], k=50)
        assert best.id == 3210
        assert best.similarity == pytest.approx(1)
        assert (best.vector_rank, best.passage) == (1, "passage 2 of 3210")
        assert 3210 not in {hit.id for hit in others}


def test_vector_search_finds_the_nearest(library: product.Connection) -> None:
    """HNSW is approximate: 9 of 10 must be right, and their similarities exact."""
    right = 0
    for seed in range(10):
        question = random_vector(seed)
        exact = library.execute(
            "SELECT id, max(1 - (embedding_hash_v1 <=> %s)) AS similarity"
            " FROM article_search_chunk GROUP BY id ORDER BY similarity DESC LIMIT 10",
            [question],
        ).fetchall()
        hits = search(library, "x", mode="vector", vector=question)
        similarities = {hit.id: hit.similarity for hit in hits}
        right += len(dict(exact).keys() & similarities.keys())
        for key, similarity in exact:
            assert similarities.get(key, similarity) == pytest.approx(similarity)
    assert right >= 90


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_k_results(library: product.Connection, mode: str, k: int) -> None:
    hits = search(library, "word1 title", mode=mode, k=k, vector=random_vector(k))
    assert len({hit.id for hit in hits}) == len(hits) == k
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_it_asks_the_embedding_that_is_named(three: product.Connection) -> None:
    by_default = search(three, "cat", vector=vector_of("cat"))
    assert search(three, "cat", vector=vector_of("cat"), embedding="hash_v1") == by_default
    three.execute("SELECT pgsearch.deactivate_embedding('public', 'article_search', 'hash_v1')")
    assert search(three, "cat", vector=vector_of("cat"), embedding="hash_v1") == by_default
    assert all(hit.similarity is None for hit in search(three, "cat", vector=vector_of("cat")))


# Changes that no worker has seen yet


def test_a_passage_is_stale_until_a_worker_came(three: product.Connection, articles: str) -> None:
    question = {"query": "cat", "vector": vector_of("cat")}
    three.execute("UPDATE article SET body = 'A lion sleeps on the mat.' WHERE id = 1")
    for mode in MODES:
        stale = {hit.id: hit.stale for hit in search(three, "lion cats dog", mode=mode,
                                                     vector=question["vector"])}  # fmt: skip
        assert stale == {1: True, 2: False, 3: False}
    Worker(articles).drain()
    hits = {hit.id: hit for hit in search(three, "lion", vector=question["vector"])}
    assert (hits[1].stale, hits[1].passage) == (False, "Cats\n\nA lion sleeps on the mat.")


def test_a_passage_of_text_that_went_is_stale(three: product.Connection, articles: str) -> None:
    three.execute("UPDATE article SET title = NULL, body = '' WHERE id = 1")
    (hit,) = (h for h in search(three, "x", mode="vector", vector=vector_of("cat")) if h.id == 1)
    assert hit.stale
    Worker(articles).drain()
    hits = search(three, "x", mode="vector", vector=vector_of("cat"))
    assert [hit.id for hit in hits if hit.id == 1] == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("DELETE FROM article WHERE id = 1", {2, 3}),
        ("TRUNCATE article", set()),
        ("UPDATE article SET id = 9 WHERE id = 1", {2, 3, 9}),
    ],
)
def test_a_row_that_is_gone_is_no_result(
    three: product.Connection, articles: str, mode: str, statement: str, left: set[int]
) -> None:
    three.execute(statement.encode())
    hits = {hit.id for hit in search(three, "cat dog", mode=mode, vector=vector_of("cat dog"))}
    # A row under a new key has its vectors again as soon as a worker came.
    assert hits == (left - {9} if mode == "vector" else left)
    Worker(articles).drain()
    hits = {hit.id for hit in search(three, "cat dog", mode=mode, vector=vector_of("cat dog"))}
    assert hits == left


def test_a_change_is_found_in_the_transaction_that_made_it(
    three: product.Connection, articles: str
) -> None:
    with three.transaction(force_rollback=True):
        three.execute("INSERT INTO article (id, title) VALUES (4, 'An aardvark')")
        assert [hit.id for hit in search(three, "aardvark")] == [4]
        with psycopg.connect(articles) as other:
            assert search(other, "aardvark") == []
    assert search(three, "aardvark") == []


# Filters


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [10, 40])
def test_a_filter_narrows_both_legs(library: product.Connection, mode: str, k: int) -> None:
    """1 % of the rows belong to the tenant, and as many are found as are asked for."""
    hits = search(library, "word1 title", mode=mode, k=k, tenant_id=7, vector=random_vector(k))
    assert len(hits) == k
    assert {hit.id % LIBRARY_TENANTS for hit in hits} == {7}


def test_a_filter_finds_the_nearest_of_its_rows(library: product.Connection) -> None:
    question = random_vector(5)
    exact = library.execute(
        "SELECT id FROM article_search_chunk WHERE id %% 100 = 7"
        " GROUP BY id ORDER BY min(embedding_hash_v1 <=> %s) LIMIT 10",
        [question],
    ).fetchall()
    hits = search(library, "x", mode="vector", tenant_id=7, vector=question)
    assert [hit.id for hit in hits] == [key for (key,) in exact]


def test_a_filter_that_nothing_meets(library: product.Connection) -> None:
    for mode in MODES:
        assert search(library, "title", mode=mode, tenant_id=-1, vector=random_vector(1)) == []


def test_a_filter_that_is_null_is_none(three: product.Connection) -> None:
    assert search(three, "cat", tenant_id=None) == search(three, "cat")
    assert [hit.id for hit in search(three, "cat", tenant_id=2)] == [3]


def test_a_filter_follows_its_column_at_once(three: product.Connection) -> None:
    three.execute("UPDATE article SET tenant_id = 2 WHERE id = 1")
    for mode in MODES:
        hits = search(three, "cat dog", mode=mode, tenant_id=2, vector=vector_of("cat"))
        assert {hit.id for hit in hits} == {1, 3}


# How it is called


def test_as_part_of_a_larger_query(three: product.Connection) -> None:
    rows = three.execute(
        "SELECT q, a.title FROM (VALUES ('cat sleeps'), ('barks'), ('zebra')) AS questions (q)"
        " LEFT JOIN LATERAL article_search(q, k => 1) AS s ON true"
        " LEFT JOIN article AS a USING (id) ORDER BY q"
    ).fetchall()
    assert rows == [("barks", "Dogs"), ("cat sleeps", "Cats"), ("zebra", None)]


def test_settings_end_with_the_transaction(three: product.Connection) -> None:
    search(three, "cat", vector=vector_of("cat"))
    assert three.execute("SHOW hnsw.ef_search").fetchone() == ("40",)
    assert three.execute("SHOW hnsw.iterative_scan").fetchone() == ("off",)


def test_in_a_read_only_transaction(three: product.Connection) -> None:
    with three.transaction():
        three.execute("SET TRANSACTION READ ONLY")
        assert len(search(three, "cat", vector=vector_of("cat"))) == 3


def test_a_reader_needs_the_tables_that_hold_text(three: product.Connection) -> None:
    reader = Identifier(f"reader_{three.info.dbname}")
    three.execute(SQL("CREATE ROLE {}").format(reader))
    try:
        three.execute(SQL("GRANT SELECT ON article TO {}").format(reader))
        three.execute(SQL("SET ROLE {}").format(reader))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="article_search_document"):
            search(three, "cat")
        three.execute("RESET ROLE")
        three.execute(
            SQL("GRANT SELECT ON article_search_document, article_search_chunk TO {}").format(
                reader
            )
        )
        three.execute(SQL("SET ROLE {}").format(reader))
        # How many documents hold a word is not for everyone either.
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="article_search_terms"):
            search(three, "cat")
        three.execute("RESET ROLE")
        three.execute(SQL("GRANT EXECUTE ON FUNCTION article_search_terms TO {}").format(reader))
        three.execute(SQL("SET ROLE {}").format(reader))
        for mode in MODES:
            hits = search(three, "cat dog", mode=mode, tenant_id=1, vector=vector_of("cat"))
            assert {hit.id for hit in hits} == {1, 2}
    finally:
        three.execute("RESET ROLE")
        three.execute(SQL("DROP OWNED BY {}").format(reader))
        three.execute(SQL("DROP ROLE {}").format(reader))


# What is refused

EMPTY = "pgsearch: the query is empty"
ONE_WORD = "Pass at least one word, or a vector and mode => 'vector'."


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ("''", EMPTY, ONE_WORD),
        ("NULL", EMPTY, ONE_WORD),
        (r"E' \n\t'", EMPTY, ONE_WORD),
        (
            "repeat('ab ', 34000)",
            "pgsearch: the query is 102000 characters long, at most 8192 are answered",
            "Pass the words or sentences that matter.",
        ),
        ("'a', k => 0", "pgsearch: k is 0, it must lie between 1 and 1000", "k => 10"),
        ("'a', k => -1", "pgsearch: k is -1, it must lie between 1 and 1000", "k => 10"),
        ("'a', k => 1000000", "pgsearch: k is 1000000, it must lie", "k => 10"),
        ("'a', k => NULL", "pgsearch: k is NULL, it must lie between 1 and 1000", "k => 10"),
        (
            "'a', mode => 'fuzzy'",
            "pgsearch: mode is 'fuzzy', there are hybrid, keyword and vector",
            "Leave it out for hybrid.",
        ),
        ("'a', mode => NULL", "pgsearch: mode is NULL, there are", "Leave it out for hybrid."),
        (
            "'a', mode => 'vector'",
            "pgsearch: mode vector needs the query's vector",
            "Run `pgsearch distill`, or pass vector => '[...]' made by the model of the embedding.",
        ),
        (
            "'a', vector => '[1,2]'",
            "pgsearch: the query's vector has 2 dimensions, embedding 'hash_v1' has 64",
            "Make it with the model of that embedding.",
        ),
        (
            "'a', vector => array_fill(0, ARRAY[64])::vector",
            "pgsearch: the query's vector is all zeros",
            "Make it with the model of the embedding.",
        ),
        (
            "'a', embedding => 'hash_v9'",
            "pgsearch: embedding 'hash_v9' of search index article_search cannot answer: it does",
            "`pgsearch sync` makes an embedding ready",
        ),
        (
            "'a', mode => 'vector', embedding => $$'; --$$",
            "pgsearch: embedding '''; --' of search index article_search cannot answer",
            "See `pgsearch status`",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(
    library: product.Connection, arguments: str, message: str, hint: str
) -> None:
    with pytest.raises(psycopg.Error) as caught:
        library.execute(f"SELECT * FROM article_search({arguments})".encode())
    assert str(caught.value.diag.message_primary).startswith(message)
    assert hint in str(caught.value.diag.message_hint)
    assert caught.value.sqlstate in ("22023", "55000")


def test_the_callers_search_path_does_not_matter(library: product.Connection) -> None:
    expected = search(library, "word9", k=3, vector=vector_of("word9"))
    library.execute("SET search_path = ''")
    try:
        found = library.execute(
            "SELECT id FROM public.article_search('word9', k => 3, vector => %s)",
            [vector_of("word9")],
        ).fetchall()
    finally:
        library.execute("RESET search_path")
    assert [row[0] for row in found] == [hit.id for hit in expected]


def test_the_longest_query_is_answered(library: product.Connection) -> None:
    assert len(search(library, ("word9 " * 2000)[:8192])) == 10
    assert len(search(library, " ".join(f"word{n}" for n in range(1000))[:8192], k=3)) == 3


def test_vector_search_before_an_embedding_is_active(db: product.Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        search(db, "cat", mode="vector", vector=vector_of("cat"))
    assert caught.value.diag.message_primary == "pgsearch: mode vector needs an active embedding"
    assert "until an embedding is active, keywords answer" in str(caught.value.diag.message_hint)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="it is filling"):
        search(db, "cat", vector=vector_of("cat"), embedding="hash_v1")


def test_an_embedding_that_an_old_snapshot_still_has(articles: str) -> None:
    """By its vector nothing can be found any more, and keywords answer where they may."""
    with product.connect(articles) as db, product.connect(articles) as other:
        db.execute("INSERT INTO article (title) VALUES ('cats'), ('dogs')")
        Worker(articles).drain()
        db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        db.execute("SELECT count(*) FROM pgsearch.embedding")
        execute_all(other, deactivate_embedding("public", "article_search", "hash_v1"))
        execute_all(other, drop_embedding("public", "article_search", "hash_v1"))
        assert [hit.id for hit in search(db, "cat", vector=vector_of("cat"))] == [1]
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
            search(db, "cat", mode="vector", vector=vector_of("cat"))
        said = caught.value.diag
        assert said.message_primary == (
            "pgsearch: embedding 'hash_v1' of search index article_search was dropped"
        )
        assert "in a new transaction" in str(said.message_hint)
        db.execute("ROLLBACK")


def test_an_infinite_or_empty_vector(three: product.Connection) -> None:
    """pgvector refuses what is no direction before it comes to the function."""
    for wrong in ("[NaN]", "[Infinity]", "[]", "x"):
        with pytest.raises(psycopg.DataError):
            search(three, "cat", vector=wrong)
