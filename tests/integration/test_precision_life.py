"""Embeddings of every precision from their declaration to their drop: migrated, filled and kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.util import CommandError
from click.testing import CliRunner
from pgvector import Vector

from pgsearch import Embedding, encoder, registry
from pgsearch.cli import main
from pgsearch.errors import DeclarationError
from pgsearch.precision import Precision
from pgsearch.schema import embedding as embedding_ddl
from pgsearch.sync.reconciliation import reconcile
from pgsearch.testing import HashEmbedder, hash_model
from tests.plugins.autogenerate import Project, metadata
from tests.plugins.drift import damage, mend, seen
from tests.plugins.reconcile import counts
from tests.plugins.search import execute_all, vector_of
from tests.plugins.worker import SENTENCES, Stories, Watching

ONE, TWO, THREE, FOUR = SENTENCES

KINDS: dict[str, dict[str, Any]] = {
    "half": {"type": "halfvec"},
    "half_graph": {"index": "halfvec"},
    "bits": {"index": "bit"},
    "half_bits": {"type": "halfvec", "index": "bit"},
}

HALVED = ["half", "half_bits"]


def add(stories: Stories, name: str, dimensions: int = 64) -> None:
    """Add an embedding as a migration does."""
    declared = Embedding(name, hash_model(dimensions), **KINDS[name])
    steps = embedding_ddl.add_embedding("public", "story_search", declared)
    execute_all(stories.connection, steps)


def activate(stories: Stories, name: str) -> None:
    execute_all(
        stories.connection, embedding_ddl.activate_embedding("public", "story_search", name)
    )


def nearest(stories: Stories, text: str, **options: Any) -> list[tuple[int, float]]:
    named = "".join(f", {name} => '{value}'" for name, value in options.items())
    return stories.execute(
        f"SELECT id, similarity FROM story_search(%s, vector => %s, mode => 'vector'{named})",
        text,
        vector_of(text),
    )


def vectors(stories: Stories, name: str) -> list[list[float]]:
    rows = stories.execute(
        f"SELECT embedding_{name}::vector FROM story_search_chunk ORDER BY id, ordinal"
    )
    return [vector.to_list() for (vector,) in rows]


# Workers


@pytest.mark.parametrize("name", KINDS)
def test_from_one_precision_to_another_and_back(stories: Stories, name: str) -> None:
    stories.insert(*SENTENCES)
    stories.drain()
    before = nearest(stories, TWO)
    model = Watching()
    add(stories, name)
    done = stories.drain(model)
    assert stories.states() == {"hash_v1": "active", name: "ready"}
    # The vectors are there already, of the same model.
    assert (model.asked, done.reused) == ([], 4)
    activate(stories, name)
    after = nearest(stories, TWO)
    assert [key for key, _ in after] == [key for key, _ in before]
    assert [s for _, s in after] == pytest.approx([s for _, s in before], abs=1e-3)
    stories.execute("UPDATE story SET body = %s WHERE id = 1", f"{ONE} Twice.")
    stories.insert(THREE)
    done = stories.drain(model)
    # Both have the new text's vector, which is made once.
    assert (model.asked, done.reused) == (["Twice."], 3)
    assert nearest(stories, "Twice.")[0] == (1, pytest.approx(1, abs=1e-3))
    activate(stories, "hash_v1")
    assert nearest(stories, "Twice.", embedding=name)[0] == (1, pytest.approx(1, abs=1e-3))
    assert nearest(stories, "Twice.")[0] == (1, pytest.approx(1))
    assert stories.differences() == []


@pytest.mark.parametrize("scale", [1e7, 1e-12])
@pytest.mark.parametrize("name", KINDS)
def test_of_a_models_vectors_only_the_direction_counts(
    stories: Stories, name: str, scale: float
) -> None:
    """Not all models give vectors of length 1; half precision would refuse the longest."""

    class Scaled(Watching):
        def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
            made = super().embed_documents(texts)
            return [Vector([scale * number for number in each.to_list()]) for each in made]

    add(stories, name)
    stories.insert(*SENTENCES)
    assert stories.worker(load=lambda _: Scaled()).drain().failed == 0
    found = dict(nearest(stories, TWO, embedding=name))
    assert found.keys() == {1, 2, 3, 4}
    assert found[2] == pytest.approx(1, abs=1e-3)


def test_exact_vectors_are_not_taken_from_halves(stories: Stories) -> None:
    add(stories, "half")
    stories.insert(ONE, TWO)
    stories.drain()
    model = Watching()
    declared = Embedding("exact", hash_model(64))
    execute_all(stories.connection, embedding_ddl.add_embedding("public", "story_search", declared))
    stories.execute("UPDATE story_search_chunk SET embedding_hash_v1 = NULL")
    stories.drain(model)
    assert sorted(model.asked) == sorted([ONE, TWO])
    made = HashEmbedder(64).embed_documents([ONE, TWO])
    assert vectors(stories, "exact") == [vector.to_list() for vector in made]


@pytest.mark.parametrize(("index", "dimensions"), [("halfvec", 3072), ("bit", 4100)])
def test_vectors_too_long_for_a_graph_of_their_own(
    stories: Stories, index: str, dimensions: int
) -> None:
    declared = Embedding("long", hash_model(dimensions), index=index)
    execute_all(stories.connection, embedding_ddl.add_embedding("public", "story_search", declared))
    stories.insert(*SENTENCES)
    stories.drain()
    assert stories.states()["long"] == "ready"
    found = stories.execute(
        "SELECT id FROM story_search("
        " 'x', k => 1, vector => %s, mode => 'vector', embedding => 'long')",
        vector_of(THREE, dimensions),
    )
    assert found == [(3,)]


@pytest.mark.parametrize("name", HALVED)
def test_equal_content_shares_a_halved_vector(stories: Stories, name: str) -> None:
    add(stories, name, 32)
    stories.insert(ONE)
    load = {64: Watching(), 32: Watching(dimensions=32)}
    stories.worker(load=lambda model: load[model.dimensions]).drain()
    stories.insert(ONE)
    stories.worker(load=lambda model: load[model.dimensions]).drain()
    assert load[32].asked == [ONE]
    first, second = vectors(stories, name)
    assert first == second
    (wanted,) = HashEmbedder(32).embed_documents([ONE])
    assert first == pytest.approx(wanted.to_list(), abs=1e-3)
    types = f"SELECT DISTINCT pg_typeof(embedding_{name})::text FROM story_search_chunk"
    assert stories.execute(types) == [("halfvec",)]


@pytest.mark.parametrize("name", HALVED)
def test_a_halved_embedding_is_reconciled(stories: Stories, name: str) -> None:
    add(stories, name)
    stories.insert(*SENTENCES)
    stories.drain()
    assert counts(reconcile(stories.url, vectors="all")) == {}
    column = f"embedding_{name}"
    stories.execute(f"UPDATE story_search_chunk SET {column} = {column} - {column} WHERE id = 1")
    stories.execute(f"UPDATE story_search_chunk SET {column} = {column} * {column} WHERE id = 2")
    stories.execute(f"UPDATE story_search_chunk SET {column} = NULL WHERE id = 3")
    assert counts(reconcile(stories.url, vectors="all")) == {"wrong vector": 2, "missing vector": 1}
    stories.drain()
    assert counts(reconcile(stories.url, vectors="all")) == {}


@pytest.mark.parametrize("name", KINDS)
def test_an_encoder_is_made_of_any(stories: Stories, name: str) -> None:
    stories.insert(*SENTENCES, *(f"Story {n} of a harbour and its village." for n in range(40)))
    add(stories, name)
    stories.drain(distill=False)
    activate(stories, name)
    (index,) = registry.read(stories.connection)
    chosen = index.active
    assert chosen is not None
    cosines = []
    # What is drawn goes by the number.
    for embedding in (replace(index.embeddings[0], id=chosen.id), chosen):
        model = HashEmbedder(64)
        built = encoder.distill(stories.connection, index, embedding, model, is_asked=True)
        assert built is not None
        cosines.append(built.fidelity.cosine)
    assert cosines[1] == pytest.approx(cosines[0], abs=0.01)
    found = stories.execute(
        "SELECT DISTINCT encoder, similarity > 0.2 FROM story_search('a story of the harbour')"
    )
    assert found == [("database", True)]


def test_examples_on_the_command_line(stories: Stories) -> None:
    add(stories, "half_bits")
    stories.insert(*SENTENCES, TWO)
    stories.drain()
    asked = ["search", "story_search", "--similar-to", "2", "--embedding", "half_bits", "--json"]
    done = CliRunner().invoke(main, ["--database", stories.url, *asked])
    assert done.exit_code == 0, done.stderr
    assert '"id": 5' in done.stdout or '"id":5' in done.stdout


@pytest.mark.parametrize("name", KINDS)
def test_compare_and_status_know_any(stories: Stories, name: str, tmp_path: Path) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text(TWO)
    add(stories, name)
    stories.insert(*SENTENCES)
    stories.drain()
    for arguments in (["compare", "hash_v1", name, "--queries", str(queries)], ["status"]):
        done = CliRunner().invoke(main, ["--database", stories.url, *arguments, "--json"])
        assert done.exit_code == 0, (arguments, done.stdout, done.stderr)


def test_an_upgrade_to_another_precision_asks_no_model(stories: Stories) -> None:
    stories.insert(*SENTENCES)
    stories.drain()
    asked = ["upgrade", "story_search", "--to", "hash_v1", "--as", "bits_v1", "--yes"]
    for said in ("index='bit'), and active='bits_v1'", "bits_v1 answers already"):
        done = CliRunner().invoke(
            main, ["--database", stories.url, *asked, "--index-type", "bit"], env={"COLUMNS": "120"}
        )
        assert done.exit_code == 0, done.stderr
        assert said in done.stdout
    assert stories.states() == {"hash_v1": "ready", "bits_v1": "active"}
    (index,) = registry.read(stories.connection)
    assert index.active is not None
    assert index.active.precision == Precision(64, "vector", "bit")
    status = CliRunner().invoke(main, ["--database", stories.url, "status"], env={"COLUMNS": "120"})
    assert "16 kB of bit" in status.stdout


# Migrations


def declared(**precision: Any) -> sa.MetaData:
    return metadata(embeddings=[Embedding("hash_64", hash_model(64), **precision)])


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_precision_is_migrated_up_and_down(
    project: Project, drain: Callable[[], Any], database: str, kind: dict[str, Any]
) -> None:
    downgrade = project.upgrade(declared(**kind))
    drain()
    assert project.calls(declared(**kind)) == []
    assert seen(database) == []
    changed = declared(**kind, m=8)
    assert project.calls(changed) == ["reindex_embedding"]
    back = project.upgrade(changed)
    assert project.calls(changed) == []
    project.run(back)
    assert project.calls(declared(**kind)) == []
    assert seen(database) == []
    project.run(downgrade)
    assert project.connection.scalar(sa.text("SELECT to_regclass('article_search_chunk')")) is None


def test_only_what_is_not_the_default_is_written(project: Project) -> None:
    for kind, written in (
        ({}, []),
        ({"type": "halfvec"}, ['vector_type="halfvec"']),
        ({"type": "halfvec", "index": "halfvec"}, ['vector_type="halfvec"']),
        ({"index": "bit"}, ['index_type="bit"']),
    ):
        code = project.render(project.generate(declared(**kind)).upgrade_ops)
        assert re.findall(r'\w+_type="\w+"', code) == written


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_another_precision_is_another_embedding(project: Project, kind: dict[str, Any]) -> None:
    project.upgrade(declared())
    with pytest.raises(CommandError, match="declare it as one more Embedding"):
        project.generate(declared(**kind))
    project.connection.rollback()
    named = ", ".join(
        f'{"vector_type" if name == "type" else "index_type"}="{value}"'
        for name, value in kind.items()
    )
    model = 'Model("hash-64", dimensions=64, provider="hash")'
    with pytest.raises(sa.exc.DBAPIError, match="of another precision"):
        project.run(f'op.add_embedding("article_search", "hash_64", {model}, {named})')


def test_a_graph_that_no_search_would_use_is_refused(project: Project) -> None:
    project.upgrade(declared(index="bit"))
    reindex = 'op.reindex_embedding("article_search", "hash_64"'
    with pytest.raises(sa.exc.DBAPIError, match="index_type='bit', dimensions=64"):
        project.run(f"{reindex})")
    project.connection.rollback()
    with pytest.raises(DeclarationError, match="needs its number of dimensions"):
        project.run(f'{reindex}, index_type="bit")')


# Drift

HNSW = "story_search_{}_hnsw"

GRAPHS = {
    "the column itself": ("bits", "embedding_bits vector_cosine_ops", "is not over the whole"),
    "halves and not bits": (
        "bits",
        "(embedding_bits::halfvec(64)) halfvec_cosine_ops",
        "is not over the whole (binary_quantize(embedding_bits)::bit(64))",
    ),
    "another distance of bits": (
        "bits",
        "(binary_quantize(embedding_bits)::bit(64)) bit_jaccard_ops",
        "has the operator class bit_jaccard_ops, not bit_hamming_ops",
    ),
    "another distance of halves": (
        "half",
        "embedding_half halfvec_l2_ops",
        "has the operator class halfvec_l2_ops, not halfvec_cosine_ops",
    ),
    "bits and not halves": (
        "half_graph",
        "(binary_quantize(embedding_half_graph)::bit(64)) bit_hamming_ops",
        "is not over the whole (embedding_half_graph::halfvec(64))",
    ),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_another_graph_is_found_and_built_anew(
    stories: Stories, graph: tuple[str, str, str]
) -> None:
    name, over, problem = graph
    add(stories, name)
    stories.insert(ONE)
    stories.drain()
    assert seen(stories.url) == []
    hnsw = HNSW.format(name)
    create = f"CREATE INDEX {hnsw} ON story_search_chunk USING hnsw ({over})"
    damage(stories.url, f"DROP INDEX {hnsw}", create)
    (finding,) = seen(stories.url)
    assert problem in finding
    assert mend(stories.url) == ["reindex_embedding"]
    assert seen(stories.url) == []


def test_a_column_of_another_type_is_made_anew(stories: Stories) -> None:
    add(stories, "half")
    stories.insert(ONE)
    stories.drain()
    alter = "ALTER TABLE story_search_chunk ALTER COLUMN embedding_half TYPE vector(64)"
    damage(stories.url, f"DROP INDEX {HNSW.format('half')}", alter)
    (finding,) = seen(stories.url)
    assert finding.endswith("is of type vector(64), not halfvec(64)")
    assert mend(stories.url) == ["drop_embedding", "add_embedding"]
    stories.drain()
    assert seen(stories.url) == []


def test_names_of_pgvector_may_come_with_their_schema(stories: Stories) -> None:
    """As where its schema is not on the search path of who asks."""
    add(stories, "bits")
    add(stories, "half_graph")
    stories.insert(ONE)
    stories.drain()
    with psycopg.connect(stories.url, autocommit=True) as connection:
        connection.execute('CREATE SCHEMA "my ""vectors"""')
        connection.execute('ALTER EXTENSION vector SET SCHEMA "my ""vectors"""')
    assert [line for line in seen(stories.url) if "hnsw" in line] == []
