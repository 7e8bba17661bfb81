"""Queries become vectors in the database: what a search says, what is read, and who may read it."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch import encoder, registry
from pgsearch.cli import main
from pgsearch.declare import Embedding
from pgsearch.encoder import Size, Step, build, store
from pgsearch.encoder.train import Schedule
from pgsearch.errors import LifecycleError
from pgsearch.schema import embedding as embedding_ddl
from pgsearch.schema.index import alter_search_index
from pgsearch.sync import Worker
from pgsearch.testing import HashEmbedder, hash_model
from tests.plugins import standby
from tests.plugins.search import ARTICLE_SEARCH, execute_all, vector_of

_FIRST = ("har", "vil", "sto", "bak", "tel", "flo", "roa", "hum", "sea", "lan")
_LAST = ("bour", "lage", "rming", "erian", "egraph", "oding", "ding", "mingly", "gull", "tern")

#: A hundred words of which no two are alike, but for their parts.
WORDS = [first + last for first in _FIRST for last in _LAST]

SMALL = Size(texts=1000, passages=500, words=500, parts=2000)
QUICK = Schedule(passage_rate=0.005, text_rate=0.003)
DIMENSIONS = {"hash_v1": 64, "hash_v2": 32}


def fill(db: product.Connection, rows: int = 120, first: int = 0) -> None:
    draw = random.Random(first)
    for n in range(first, first + rows):
        sentences = (" ".join(draw.choices(WORDS, k=8)).capitalize() for _ in range(3))
        db.execute(
            "INSERT INTO article (id, tenant_id, title, body) VALUES (%s, %s, %s, %s)",
            [n, n % 3, f"Article {n}", ". ".join(sentences) + "."],
        )


def distill(
    db: product.Connection, embedding: str = "hash_v1", **options: Any
) -> encoder.Distilled:
    """Build the encoder of an embedding, small and quickly."""
    (index,) = registry.read(db, "article_search")
    (chosen,) = (e for e in index.embeddings if e.name == embedding)
    options = {"size": SMALL, "schedule": QUICK, "is_asked": True} | options
    built = encoder.distill(db, index, chosen, HashEmbedder(DIMENSIONS[embedding]), **options)
    assert built is not None
    return built


def rows(db: psycopg.Connection[Any], statement: str, *parameters: Any) -> list[Any]:
    return db.execute(statement.encode(), parameters or None).fetchall()


def value(db: psycopg.Connection[Any], statement: str, *parameters: Any) -> Any:
    ((found,),) = rows(db, statement, *parameters)
    return found


@pytest.fixture
def filled(articles: str, db: product.Connection) -> product.Connection:
    """A connection to a database with many embedded articles and no encoder."""
    fill(db)
    Worker(articles, distill=False).drain()
    return db


@pytest.fixture
def encoded(filled: product.Connection) -> product.Connection:
    """A connection to a database with many embedded articles and an encoder."""
    distill(filled)
    return filled


# What a search says


def test_text_alone_finds_what_the_model_finds(filled: product.Connection) -> None:
    built = distill(filled)
    assert (built.version, built.fidelity.texts) == (1, 120)
    assert built.fidelity.cosine > 0.95
    assert built.fidelity.neighbours is not None
    assert built.fidelity.neighbours > 0.7
    text = "harlage storming bakegraph"
    cosine = "SELECT 1 - (article_search_embed(%s) <=> %s::vector)"
    assert value(filled, cosine, text, vector_of(text)) > 0.95
    for mode in ("hybrid", "vector"):
        said = "SELECT encoder, similarity > 0.2 FROM article_search(%s, mode => %s)"
        assert set(rows(filled, said, text, mode)) == {("database", True)}


def test_text_alone_finds_passages_too(encoded: product.Connection) -> None:
    """They are scored by the vector that the database has made, as if the caller had."""
    text = f"{WORDS[3]} {WORDS[55]}"
    vector = value(encoded, "SELECT article_search_embed(%s)", text)
    asked = "SELECT id, ordinal, score, similarity, encoder FROM article_search_passages(%s"
    alone = rows(encoded, asked + ")", text)
    given = rows(encoded, asked + ", vector => %s)", text, vector)
    assert [row[:4] for row in alone] == [row[:4] for row in given]
    assert {row[4] for row in alone} == {"database"}
    assert {row[4] for row in given} == {"caller"}
    assert all(similarity is not None for *_, similarity, _ in alone)


def test_a_given_vector_is_not_made_again(encoded: product.Connection) -> None:
    asked = "SELECT DISTINCT encoder FROM article_search('harlage', mode => %s, vector => %s)"
    for mode in ("hybrid", "vector"):
        assert rows(encoded, asked, mode, vector_of("harlage")) == [("caller",)]
    assert rows(encoded, asked, "keyword", vector_of("harlage")) == [("none",)]
    assert rows(encoded, asked, "keyword", None) == [("none",)]


def test_without_an_encoder_keywords_answer_alone(filled: product.Connection) -> None:
    asked = "SELECT DISTINCT encoder, similarity IS NULL FROM article_search('harlage')"
    assert rows(filled, asked) == [("none", True)]
    assert value(filled, "SELECT article_search_embed('harlage')") is None
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="needs the query's vector"):
        rows(filled, "SELECT FROM article_search('harlage', mode => 'vector')")


def test_without_a_known_token_keywords_answer_alone(encoded: product.Connection) -> None:
    encoded.execute("INSERT INTO article (id, title) VALUES (9999, 'Qqqq xxxx 漢字')")
    for text in ("qqqq", "xxxx qqqq", "漢字", "!?", "-harlage qqqq"):
        assert value(encoded, "SELECT article_search_embed(%s)", text) is None, text
    for mode in ("hybrid", "vector"):
        found = "SELECT id, encoder FROM article_search('qqqq', mode => %s)"
        assert rows(encoded, found, mode) == [(9999, "none")]


def test_what_stands_behind_a_minus_sign_is_not_asked_for(encoded: product.Connection) -> None:
    same = "SELECT article_search_embed(%s) = article_search_embed(%s)"
    for text in ("harlage -storming", 'harlage -"storming seagull"', "HÁRLAGE,"):
        assert value(encoded, same, text, "harlage"), text
    assert not value(encoded, same, "harlage storming", "harlage")


def test_a_word_that_is_new_or_mistyped_is_known_by_its_parts(
    encoded: product.Connection,
) -> None:
    near = "SELECT 1 - (article_search_embed(%s) <=> article_search_embed(%s))"
    assert value(encoded, near, "storrming", "storming") > 0.5
    assert value(encoded, near, "storrming", "storming") > value(
        encoded, near, "storrming", "bakegraph"
    )


def test_two_words_side_by_side_say_what_their_sum_does_not(encoded: product.Connection) -> None:
    """A pair lies in the table as a token with a blank, and is added to the sum of its words."""
    first, second, third = WORDS[:3]
    pair = str([*range(1, DIMENSIONS["hash_v1"] + 1)])
    encoded.execute(
        "INSERT INTO article_search_token SELECT embedding_id, %s, %s::halfvec"
        " FROM article_search_token WHERE token = %s",
        [f"{first} {second}", pair, first],
    )
    made = (
        "SELECT l2_normalize(sum(vector::vector)) <-> article_search_embed(%s) < 1e-3"
        " FROM article_search_token WHERE token = ANY(%s)"
    )
    together = [first, second, f"{first} {second}"]
    assert value(encoded, made, f"{first} {second}", together)
    assert value(encoded, made, f"{first}-{second}!", together)
    assert value(encoded, made, f"{second} {first}", [first, second])
    assert value(encoded, made, f"{first} {third} {second}", [first, second, third])


def test_the_model_is_asked_for_pairs_that_come_often(filled: product.Connection) -> None:
    """Each title has its number behind the same word; no number stands in three of them."""
    filled.execute("UPDATE article SET title = 'Grey ' || title")
    Worker(product_url(filled), distill=False).drain()
    distill(filled)
    tokens = {row[0] for row in rows(filled, "SELECT token FROM article_search_token")}
    assert "grey article" in tokens
    assert not any(re.search(r"article \d", token) for token in tokens)


def test_it_takes_part_in_phrases_filters_and_pages(encoded: product.Connection) -> None:
    asked = "SELECT DISTINCT encoder FROM article_search(%s, tenant_id => 1, skip => 2, k => 3)"
    assert rows(encoded, asked, "harlage storming") == [("database",)]
    found = "SELECT s.id FROM article_search(%s, k => 50) AS s JOIN article USING (id)"
    without = " WHERE body ILIKE '%%storming%%'"
    assert rows(encoded, found + without, "harlage -storming") == []


def test_the_active_embedding_and_its_encoder_are_switched_as_one(
    articles: str, encoded: product.Connection
) -> None:
    added = embedding_ddl.add_embedding(
        "public", "article_search", Embedding("hash_v2", hash_model(32))
    )
    execute_all(encoded, added)
    Worker(articles, distill=False).drain()
    dimensions = "SELECT vector_dims(article_search_embed('harlage', %s))"
    assert value(encoded, dimensions, "hash_v2") is None
    distill(encoded, "hash_v2")
    assert [value(encoded, dimensions, name) for name in (None, "hash_v1", "hash_v2")] == [
        64, 64, 32
    ]  # fmt: skip
    asked = "SELECT DISTINCT encoder FROM article_search('harlage storming')"
    activate = "SELECT pgsearch.activate_embedding('public', 'article_search', 'hash_v2')"
    with product.connect(articles) as other, encoded.transaction(force_rollback=True):
        encoded.execute(activate.encode())
        assert (value(encoded, dimensions, None), value(other, dimensions, None)) == (32, 64)
        assert rows(encoded, asked) == rows(other, asked) == [("database",)]
    encoded.execute(activate.encode())
    assert value(encoded, dimensions, None) == 32
    # What is dropped takes its tokens along.
    held = "SELECT array_agg(DISTINCT embedding_id) FROM article_search_token"
    assert len(value(encoded, held)) == 2
    execute_all(encoded, embedding_ddl.drop_embedding("public", "article_search", "hash_v1"))
    assert len(value(encoded, held)) == 1
    assert value(encoded, "SELECT count(*) FROM pgsearch.encoder") == 1


def test_a_new_one_takes_the_place_of_the_old_at_once(
    articles: str, encoded: product.Connection
) -> None:
    made = "SELECT article_search_embed('harlage storming')::text"
    before = value(encoded, made)
    with product.connect(articles) as reader, reader.transaction():
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert value(reader, made) == before
        assert distill(encoded, schedule=Schedule(text_rate=0.02)).version == 2
        assert value(reader, made) == before
    assert value(encoded, made) != before


# What is read, and how fast


def test_tokens_are_found_by_the_primary_key(encoded: product.Connection) -> None:
    encoded.execute(
        "INSERT INTO article_search_token SELECT 99, 'x' || n, "
        "  (SELECT vector FROM article_search_token LIMIT 1) FROM generate_series(1, 3000) AS n"
    )
    before = scans(encoded)
    # Also as it is planned after five calls.
    for n in range(12):
        rows(encoded, "SELECT FROM article_search(%s)", f"harlage storming unknown{n}")
    assert scans(encoded) == before


def scans(db: product.Connection) -> int:
    """Return how often all tokens were read."""
    for statement in ("SELECT pg_stat_force_next_flush()", "SELECT pg_stat_clear_snapshot()"):
        db.execute(statement.encode())
    read = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'article_search_token'"
    return int(value(db, read))


# Who may read it


@pytest.fixture
def guest(encoded: product.Connection) -> Iterator[product.Connection]:
    """A connection as a role that may ask, on a table with row-level security."""
    name = f"guest_{encoded.info.dbname}"
    for statement in (
        "CREATE ROLE {}",
        "GRANT SELECT ON article, article_search_document, article_search_chunk TO {}",
        "GRANT SELECT ON article_search_filter TO {}",
        "GRANT EXECUTE ON FUNCTION article_search_terms, article_search_encode TO {}",
        "CREATE POLICY own ON article TO {} USING (tenant_id = 1)",
    ):
        encoded.execute(SQL(statement).format(Identifier(name)))
    encoded.execute("ALTER TABLE article ENABLE ROW LEVEL SECURITY")
    execute_all(encoded, alter_search_index(ARTICLE_SEARCH))
    encoded.execute("SET row_security = on")
    encoded.execute(SQL("SET ROLE {}").format(Identifier(name)))
    yield encoded
    encoded.execute("RESET ROLE")
    encoded.execute(SQL("DROP OWNED BY {}").format(Identifier(name)))
    encoded.execute(SQL("DROP ROLE {}").format(Identifier(name)))


def test_under_row_level_security_rare_words_are_left_out(guest: product.Connection) -> None:
    guest.execute("RESET ROLE")
    fill(guest, 30, first=1000)
    guest.execute("UPDATE article SET body = body || ' secretword' WHERE id BETWEEN 1 AND 19")
    guest.execute("UPDATE article SET body = body || ' commonword' WHERE id BETWEEN 1 AND 25")
    Worker(product_url(guest), distill=False).drain()
    known = "SELECT token FROM article_search_token WHERE token IN ('secretword', 'commonword')"
    distill(guest)
    assert rows(guest, known) == [("commonword",)]
    distill(guest, at_least=1)
    assert len(rows(guest, known)) == 2


def test_a_role_that_may_ask_reads_no_token(guest: product.Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(guest, "SELECT token FROM article_search_token")
    asked = "SELECT s.id % 3, s.encoder FROM article_search('harlage storming', k => 20) AS s"
    assert set(rows(guest, asked)) == {(1, "database")}
    assert value(guest, "SELECT article_search_embed('harlage')") is not None


def test_who_may_not_ask_for_terms_may_not_ask_for_vectors(encoded: product.Connection) -> None:
    name = Identifier(f"nobody_{encoded.info.dbname}")
    encoded.execute(SQL("CREATE ROLE {}").format(name))
    try:
        encoded.execute(SQL("SET ROLE {}").format(name))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rows(encoded, "SELECT article_search_embed('harlage')")
    finally:
        encoded.execute("RESET ROLE")
        encoded.execute(SQL("DROP ROLE {}").format(name))


# Who builds it


def product_url(connection: product.Connection) -> str:
    info = connection.info
    return f"postgresql://{info.user}@/{info.dbname}?host={info.host}&port={info.port}"


def versions(db: product.Connection) -> list[tuple[int, bool]]:
    return rows(db, "SELECT version, tokens > 0 FROM pgsearch.encoder ORDER BY embedding_id")


def test_a_worker_builds_it_and_builds_it_anew_when_much_has_changed(
    articles: str, db: product.Connection
) -> None:
    fill(db, 99)
    worker = Worker(articles, distill=True)
    worker.drain()
    assert versions(db) == []  # too few to learn from
    fill(db, 3, first=99)
    seen = []
    worker = Worker(articles, distill=True, on_progress=seen.append)
    assert worker.drain().documents == 3
    assert versions(db) == [(1, True)]
    for step in ("encoder embed", "encoder train"):
        told = [progress for progress in seen if progress.step == step]
        # Its texts are counted once, and their number stays.
        assert [sum(each.done for each in told)] == list({each.waiting for each in told})
    worker.drain()
    assert versions(db) == [(1, True)]
    fill(db, 250, first=200)
    Worker(articles, distill=False).drain()
    assert versions(db) == [(1, True)]
    worker.drain()
    assert versions(db) == [(2, True)]
    assert rows(db, "SELECT detail ->> 'version' FROM pgsearch.event WHERE kind = 'distilled'") == [
        ("1",), ("2",)
    ]  # fmt: skip


def test_what_is_switched_off_stays_off(articles: str, encoded: product.Connection) -> None:
    (index,) = registry.read(encoded, "article_search")
    assert index.active is not None
    encoder.switch_off(encoded, index, index.active)
    assert value(encoded, "SELECT count(*) FROM article_search_token") == 0
    fill(encoded, 300, first=500)
    Worker(articles, distill=True).drain()
    assert versions(encoded) == [(1, False)]
    asked = "SELECT DISTINCT encoder FROM article_search('harlage')"
    assert rows(encoded, asked) == [("none",)]
    distill(encoded)
    assert (versions(encoded), rows(encoded, asked)) == ([(2, True)], [("database",)])


def test_one_worker_at_a_time_builds_it(filled: product.Connection) -> None:
    (index,) = registry.read(filled, "article_search")
    assert index.active is not None
    assert encoder.outdated(filled, index) == [index.active.id]
    filled.execute(
        "INSERT INTO pgsearch.encoder (embedding_id, leased_until) VALUES (%s, now() + '1 min')",
        [index.active.id],
    )
    assert encoder.outdated(filled, index) == []
    model = HashEmbedder(64)
    assert encoder.distill(filled, index, index.active, model) is None
    filled.execute("UPDATE pgsearch.encoder SET leased_until = now() - interval '1 min'")
    assert encoder.distill(filled, index, index.active, model, size=SMALL, schedule=QUICK)


def test_one_that_is_stopped_gives_its_turn_back(filled: product.Connection) -> None:
    (index,) = registry.read(filled, "article_search")
    assert index.active is not None
    asked = iter([True] * 5)
    model = HashEmbedder(64)
    assert (
        encoder.distill(filled, index, index.active, model, go_on=lambda: next(asked, False))
        is None
    )
    assert versions(filled) == [(0, False)]
    assert encoder.outdated(filled, index) == [index.active.id]


def test_a_slow_model_is_asked_for_fewer_words_and_pairs(
    filled: product.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.execute("UPDATE article SET title = 'Grey ' || title")
    Worker(product_url(filled), distill=False).drain()
    steps: list[Step] = []
    monkeypatch.setattr(build, "_PATIENCE_S", 0)
    distill(filled, on_step=steps.append)
    tokens = {row[0] for row in rows(filled, "SELECT token FROM article_search_token")}
    assert {"grey", "article"} <= tokens
    assert not any(" " in token for token in tokens)
    assert value(filled, "SELECT article_search_embed(%s)", WORDS[0]) is not None
    asked = [step for step in steps if step.name == "embed"]
    assert sum(step.done for step in asked) < (asked[0].total or 0)


def test_one_who_builds_for_long_keeps_its_turn(
    filled: product.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease of which a third is over begins anew."""
    left = "SELECT leased_until - clock_timestamp() > interval '0.6 s' FROM pgsearch.encoder"
    seen: list[bool] = []

    def watch(step: Step) -> None:
        if step.name == "embed":
            if not seen:
                time.sleep(0.4)
            seen.append(value(filled, left))

    monkeypatch.setattr(store, "LEASE_S", 0.9)
    distill(filled, on_step=watch)
    assert seen[:2] == [False, True]


def test_an_empty_search_index_has_nothing_to_learn_from(
    articles: str, db: product.Connection
) -> None:
    Worker(articles).drain()
    (index,) = registry.read(db, "article_search")
    with pytest.raises(LifecycleError, match="has no passages"):
        encoder.distill(db, index, index.embeddings[0], HashEmbedder(64), is_asked=True)


def run(url: str, *arguments: str) -> str:
    done = CliRunner().invoke(main, ["--database", url, "distill", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_builds_it_and_takes_it_away(articles: str, filled: product.Connection) -> None:
    said = run(articles, "article_search", "--texts", "500")
    assert re.match(r"hash_v1: encoder 1, [\d,]+ tokens, in \d+ s\. On \d+ texts kept apart", said)
    assert versions(filled) == [(1, True)]
    assert run(articles, "article_search", "hash_v1", "--off").startswith("hash_v1: no encoder")
    assert versions(filled) == [(1, False)]
    for arguments, hint in ((("nothing",), "nothing"), (("article_search", "other"), "'other'")):
        done = CliRunner().invoke(main, ["--database", articles, "distill", *arguments])
        assert done.exit_code == 1
        assert hint in done.stderr


def test_the_status_says_how_near_it_comes(articles: str, encoded: product.Connection) -> None:
    done = CliRunner().invoke(main, ["--database", articles, "status"])
    assert re.search(r"0\.9\d \(version 1\)", done.stdout)


# On a replica


def test_a_hot_standby_answers(
    encoded: product.Connection, server_url: str, pytestconfig: pytest.Config
) -> None:
    """Nothing can be written there, not even into a temporary table."""
    primary = product_url(encoded)
    with standby.standby(server_url, pytestconfig.getoption("--postgres")) as root:
        follower = urlsplit(root)._replace(path=f"/{encoded.info.dbname}").geturl()
        fill(encoded, 5, first=900)
        asked = "SELECT id, score, encoder FROM article_search('harlage storming', k => 5)"
        standby.wait(primary, follower)
        with psycopg.connect(follower, autocommit=True) as connection:
            assert value(connection, "SELECT pg_is_in_recovery()")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("DELETE FROM article")
            found = rows(connection, asked)
            assert found == rows(encoded, asked)
            assert {encoder for _, _, encoder in found} == {"database"}
            embedded = "SELECT article_search_embed('storrming')::text"
            assert value(connection, embedded) == value(encoded, embedded)
            distill(encoded, schedule=Schedule(text_rate=0.02))
            standby.wait(primary, follower)
            assert value(connection, embedded) == value(encoded, embedded)
