"""Options of the search function: filters by range and list, pages, fusion, candidates, crowds."""

from __future__ import annotations

import pytest
from psycopg import errors

from pgsearch import database as product
from pgsearch.definition import TypedColumn
from pgsearch.errors import DeclarationError
from pgsearch.names import MAX_BYTES
from pgsearch.schema.filters import filter_parameters
from tests.integration.test_search_sql import MODES, Hit, random_vector, search
from tests.plugins.search import ARTICLE_SEARCH, article_index, make_ready, put_chunks

# Filters


@pytest.mark.parametrize(
    ("filters", "tenants"),
    [
        ({"tenant_id_in": [3, 5]}, {3, 5}),
        ({"tenant_id_min": 98}, {98, 99}),
        ({"tenant_id_max": 1}, {0, 1}),
        ({"tenant_id_min": 4, "tenant_id_max": 6}, {4, 5, 6}),
        ({"tenant_id": 4, "tenant_id_min": 4, "tenant_id_in": [4, 5]}, {4}),
        ({"tenant_id_in": [], "tenant_id_min": 4}, set()),
        ({"tenant_id_min": None}, None),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_ranges_and_lists(
    library: product.Connection, mode: str, filters: dict[str, object], tenants: set[int] | None
) -> None:
    hits = search(library, "title word1", mode=mode, k=150, vector=random_vector(3), **filters)
    found = {hit.id % 100 for hit in hits}
    if tenants is None:
        assert len(found) > 50
    else:
        assert found == tenants
        assert len(hits) == min(150, 40 * len(tenants))


def test_names_of_filters_that_are_taken() -> None:
    """Another column's name goes before, and so does what PostgreSQL can hold."""
    long = "x" * (MAX_BYTES - 3)
    index = article_index(
        "any_search",
        filters=(
            TypedColumn("price", "numeric(10,2)"),
            TypedColumn("price_max", "integer"),
            TypedColumn("tags", "text[]"),
            TypedColumn(long, "integer"),
        ),
    )
    parameters = {parameter.name: parameter.type for parameter in filter_parameters(index)}
    assert parameters == {
        "price": "numeric(10,2)",
        "price_in": "numeric(10,2)[]",
        "price_min": "numeric(10,2)",
        "price_max": "integer",
        "price_max_in": "integer[]",
        "price_max_min": "integer",
        "price_max_max": "integer",
        "tags": "text[]",
        "tags_min": "text[]",
        "tags_max": "text[]",
        long: "integer",
        f"{long}_in": "integer[]",
    }


def test_what_few_rows_give_is_exact(library: product.Connection) -> None:
    """Also with conditions, in every mode, and beyond what the legs' depths are."""
    question = random_vector(9)
    for query in ("word1 word7", "word1 -word2", '"title of" word3 or -word9'):
        exact = library.execute(
            "SELECT c.id FROM article_search_chunk AS c JOIN article_search_document AS d"
            " USING (id) WHERE c.id %% 100 < 4"
            " AND coalesce(d.tsv @@ pgsearch.query_condition('english', %s), true)"
            " GROUP BY c.id ORDER BY min(c.embedding_hash_v1 <=> %s), c.id LIMIT 140",
            [query, question],
        ).fetchall()
        hits = search(library, query, mode="vector", k=140, vector=question, tenant_id_max=3)
        assert [hit.id for hit in hits] == [key for (key,) in exact]
        words = search(library, query, mode="keyword", k=160, tenant_id_max=3)
        everywhere = search(library, query, mode="keyword", k=1000)
        scores = {hit.id: hit.score for hit in everywhere}
        for hit in words:
            assert scores.get(hit.id, hit.score) == hit.score


# Pages


@pytest.mark.parametrize("mode", MODES)
def test_pages_follow_each_other(library: product.Connection, mode: str) -> None:
    asked = {"mode": mode, "vector": random_vector(1)}
    whole = search(library, "word1 word5 title", k=50, **asked)
    pages: list[Hit] = []
    for skip in range(0, 50, 10):
        pages += search(library, "word1 word5 title", k=10, skip=skip, **asked)
    assert [hit.id for hit in pages] == [hit.id for hit in whole]


def test_pages_come_from_the_same_documents(articles: str, db: product.Connection) -> None:
    """A rare word in 15 long texts is enough for the first page, and not for the whole."""
    db.execute(
        "INSERT INTO article (id, body) SELECT n, CASE"
        " WHEN n <= 15 THEN 'zebra' || repeat(' filler', 400)"
        " WHEN n % 4 = 0 THEN 'cat cat' ELSE 'other' || repeat(' filler', n % 50) END"
        " FROM generate_series(1, 4000) AS n"
    )
    db.execute("SELECT article_search_refresh_statistics()")
    whole = search(db, "zebra cat", mode="keyword", k=50)
    assert whole[0].id > 15
    for skip in range(0, 50, 10):
        page = search(db, "zebra cat", mode="keyword", skip=skip)
        assert page == whole[skip : skip + 10]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"skip": -1}, "skip is -1, it must lie between 0 and 990"),
        ({"skip": 991}, "skip is 991"),
        ({"skip": None}, "skip is NULL"),
        ({"ef_search": 0}, "ef_search is 0, it must lie between 1 and 1000"),
        ({"ef_search": 1001}, "ef_search is 1001"),
        ({"fusion": "sum"}, "fusion is 'sum', there are exact and rrf"),
        ({"fusion": None}, "fusion is NULL"),
        ({"keyword_weight": -1.0}, "keyword_weight is -1, it must be a number from 0"),
        ({"keyword_weight": float("nan")}, "keyword_weight is NaN"),
        ({"keyword_weight": float("inf")}, "keyword_weight is Infinity"),
    ],
)
def test_what_is_refused(
    library: product.Connection, option: dict[str, object], message: str
) -> None:
    with pytest.raises(errors.InvalidParameterValue, match=message) as refused:
        search(library, "word1", **option)
    assert refused.value.diag.message_hint


# Legs and their fusion


def test_reciprocal_ranks(library: product.Connection) -> None:
    for weight in (1.0, 2.0):
        options = {} if weight == 1 else {"keyword_weight": weight}
        hits = search(
            library, "word50 word60", vector=random_vector(2), fusion="rrf", k=100, **options
        )
        assert any(hit.keyword_rank for hit in hits)
        assert any(hit.vector_rank for hit in hits)
        for hit in hits:
            ranks = ((weight, hit.keyword_rank), (1.0, hit.vector_rank))
            assert hit.score == pytest.approx(sum(w / (60 + rank) for w, rank in ranks if rank))


def test_the_keyword_leg_weighs_as_asked(library: product.Connection) -> None:
    asked = {"vector": random_vector(2), "k": 20, "ef_search": 400}
    light = search(library, "word50 word60", keyword_weight=0, **asked)
    alone = search(library, "word50 word60", mode="vector", **asked)
    assert [hit.id for hit in light] == [hit.id for hit in alone]
    heavy = search(library, "word50 word60", keyword_weight=1000, **asked)
    scores = [hit.keyword_score or 0 for hit in heavy]
    assert scores == sorted(scores, reverse=True)


def test_more_candidates_find_more_of_the_nearest(library: product.Connection) -> None:
    def right(ef_search: int | None) -> int:
        found = 0
        for seed in range(20):
            question = random_vector(seed)
            exact = library.execute(
                "SELECT id FROM article_search_chunk"
                " GROUP BY id ORDER BY min(embedding_hash_v1 <=> %s) + 0 LIMIT 10",
                [question],
            ).fetchall()
            hits = search(library, "x", mode="vector", vector=question, ef_search=ef_search)
            found += len({hit.id for hit in hits} & {key for (key,) in exact})
        return found

    assert right(30) < right(100) < right(None)
    assert right(None) <= right(800)


def test_a_vector_needs_no_text(library: product.Connection) -> None:
    question = random_vector(1)
    expected = search(library, "x", mode="vector", vector=question)
    for query in (None, "", " \n"):
        assert search(library, query, mode="vector", vector=question) == expected


def test_other_words_bring_what_the_rarest_do_not(articles: str, db: product.Connection) -> None:
    """Where a condition leaves out all that the rarest words bring."""
    db.execute(
        "INSERT INTO article (body) SELECT CASE WHEN n <= 30 THEN 'rare banned ' ELSE '' END"
        " || 'common word ' || n FROM generate_series(1, 400) AS n"
    )
    db.execute("SELECT article_search_refresh_statistics()")
    assert {hit.id for hit in search(db, "rare common")} <= set(range(1, 31))
    hits = search(db, "rare common -banned")
    assert len(hits) == 10
    assert min(hit.id for hit in hits) > 30
    assert [hit.keyword_rank for hit in hits] == list(range(1, 11))


# Crowds and gaps


@pytest.fixture
def crowd(articles: str, db: product.Connection) -> product.Connection:
    """300 documents; the first has 600 chunks in one corner, the others one each, all farther."""
    db.execute("INSERT INTO article (id, body) SELECT n, 'text' FROM generate_series(1, 300) AS n")
    near = [((1,), n, f"near {n}", [1.0, n / 1e6] + [0.0] * 62) for n in range(600)]
    far = [((n,), 0, f"far {n}", [0.5, n / 300] + [0.1] * 62) for n in range(2, 301)]
    put_chunks(db, ARTICLE_SEARCH, "hash_v1", [*near, *far])
    make_ready(db, ARTICLE_SEARCH)
    return db


CORNER = str([1.0] + [0.0] * 63)


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_chunks_of_one_document_do_not_crowd_out_others(
    crowd: product.Connection, mode: str
) -> None:
    hits = search(crowd, "zebra", vector=CORNER, mode=mode)
    assert [hit.id for hit in hits] == [1, *range(2, 11)]


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_rows_that_are_gone_leave_no_gap(crowd: product.Connection, mode: str) -> None:
    """Their chunks are still there, until a worker comes."""
    crowd.execute("DELETE FROM article WHERE id BETWEEN 2 AND 285")
    hits = search(crowd, "zebra", vector=CORNER, mode=mode)
    assert [hit.id for hit in hits] == [1, *range(286, 295)]


def test_of_very_many_filters_there_is_equality() -> None:
    columns = tuple(TypedColumn(f"c{n}", "integer") for n in range(23))
    assert len(filter_parameters(article_index("some_search", filters=columns[:22]))) == 88
    parameters = filter_parameters(article_index("many_search", filters=columns))
    assert [parameter.name for parameter in parameters] == [column.name for column in columns]
    with pytest.raises(DeclarationError, match="has 91 filters"):
        article_index("all_search", filters=tuple(TypedColumn(f"c{n}", "text") for n in range(91)))


@pytest.fixture
def zoo(articles: str, db: product.Connection) -> product.Connection:
    """12,000 articles with a cat in them; 500 of tenant 1 have a zebra, too."""
    db.execute(
        "INSERT INTO article (tenant_id, body)"
        " SELECT n % 2, concat(CASE WHEN n < 1000 AND n % 2 = 1 THEN 'zebra ' END,"
        "   'a cat in ', CASE WHEN n % 3 > 0 THEN 'the hat' ELSE 'a mat' END)"
        " FROM generate_series(1, 12000) AS n"
    )
    db.execute("SELECT article_search_refresh_statistics()")
    return db


@pytest.mark.parametrize(
    ("query", "filters"),
    [
        ("zebra cat", {"tenant_id": 0}),
        ('zebra "a mat"', {"tenant_id": 0}),
        ("zebra cat -zebra", {}),
        ('zebra "the hat" -zebra', {}),
    ],
)
def test_a_rare_word_elsewhere_keeps_nothing_back(
    zoo: product.Connection, query: str, filters: dict[str, object]
) -> None:
    """Where the filter or a condition leaves none of its rows, the other words bring some."""
    terms = "SELECT tier FROM article_search_terms(%s, 50) ORDER BY idf DESC"
    assert zoo.execute(terms, [query]).fetchall()[:2] == [(1,), (None,)]
    hits = search(zoo, query, mode="keyword", k=20, **filters)
    assert len({hit.id for hit in hits}) == 20
    assert all(hit.id % 2 == 0 or hit.id >= 1000 for hit in hits)
    assert [hit.keyword_rank for hit in hits] == list(range(1, 21))


def test_a_new_session_is_told_nothing(zoo: product.Connection, articles: str) -> None:
    """No notice of an empty query within the statement, no warning of a setting without a value."""
    told: list[str | None] = []
    with product.connect(articles) as connection, connection.transaction():
        connection.execute("SET LOCAL client_min_messages = notice")
        connection.add_notice_handler(lambda notice: told.append(notice.message_primary))
        for query in ("zebra cat", "cat -zebra"):
            assert search(connection, query, mode="keyword")
            assert search(connection, query, mode="keyword", tenant_id=0)
        connection.execute("SELECT '[1]'::vector <=> '[1]'")
        assert connection.execute("SHOW hnsw.ef_search").fetchone() == ("40",)
    assert told == []
