"""A declaration validates itself, and its errors say what to write instead."""

import json
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Enum,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pgsearch import Chunking, Embedding, Error, Model, SearchIndex
from pgsearch.declare import declared_on
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn, check_type
from pgsearch.errors import DeclarationError
from pgsearch.names import (
    MAX_BYTES,
    RESERVED_COLUMNS,
    RESERVED_PARAMETERS,
    IndexNames,
    check,
    check_embedding_name,
)
from pgsearch.precision import MAX_DIMENSIONS

REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
MODEL = Model("sentence-transformers/all-MiniLM-L6-v2", revision=REVISION, dimensions=384)
EMBEDDING = Embedding("minilm_v1", MODEL)
FILTERS = ("tenant_id", "price", "code", "tags")


def article(**options: Any) -> Table:
    return Table(
        "article",
        MetaData(),
        Column("id", BigInteger, primary_key=True),
        Column("tenant_id", Integer),
        Column("price", Numeric(10, 2)),
        Column("code", String(20)),
        Column("tags", ARRAY(Text)),
        Column("title", Text),
        Column("body", Text),
        **options,
    )


def index(**changes: Any) -> SearchIndex:
    arguments: dict[str, Any] = {
        "name": "article_search",
        "table": article(),
        "text": {"title": "A", "body": "B"},
        "filters": list(FILTERS),
        "chunking": Chunking(heading="title"),
        "embeddings": [EMBEDDING],
        **changes,
    }
    return SearchIndex(arguments.pop("name"), arguments.pop("table"), **arguments)


def refused(declare: Callable[[], object]) -> DeclarationError:
    """Return the error of a declaration that cannot work; it has a hint."""
    with pytest.raises(DeclarationError) as caught:
        declare()
    assert caught.value.hint
    assert str(caught.value) == f"{caught.value.message}\n{caught.value.hint}"
    return caught.value


class TestSearchIndex:
    def test_a_definition_is_the_declaration_with_types(self) -> None:
        assert index().definition() == IndexDefinition(
            name="article_search",
            schema="public",
            table="article",
            key=(TypedColumn("id", "bigint"),),
            text=(TextColumn("title", "A"), TextColumn("body", "B")),
            language="english",
            filters=(
                TypedColumn("tenant_id", "integer"),
                TypedColumn("price", "numeric(10, 2)"),
                TypedColumn("code", "varchar(20)"),
                TypedColumn("tags", "text[]"),
            ),
            chunking=Chunking(heading="title"),
        )

    def test_the_schema_is_the_tables_or_the_default(self) -> None:
        assert index().definition("blog").schema == "blog"
        assert index(table=article(schema="shop")).definition("blog").schema == "shop"

    def test_a_key_of_several_columns_keeps_its_order(self) -> None:
        table = Table(
            "part",
            MetaData(),
            Column("body", Text),
            Column("tenant", Uuid, primary_key=True),
            Column("number", Integer, primary_key=True),
        )
        declared = SearchIndex("part_search", table, text={"body": "A"})
        assert declared.definition().key == (
            TypedColumn("tenant", "uuid"),
            TypedColumn("number", "integer"),
        )

    def test_columns_are_meant_by_their_database_names(self) -> None:
        table = Table(
            "note",
            MetaData(),
            Column("id", Integer, primary_key=True),
            Column("body_text", Text, key="body"),
        )
        declared = SearchIndex("note_search", table, text={"body_text": "A"})
        assert declared.definition().text == (TextColumn("body_text", "A"),)
        refused(lambda: SearchIndex("note_search", table, text={"body": "A"}))

    def test_it_is_noted_on_its_table(self) -> None:
        table = article()
        assert declared_on(table) == {}
        first = index(table=table)
        second = index(table=table, name="article_titles", text={"title": "A"})
        assert declared_on(table) == {"article_search": first, "article_titles": second}

    def test_it_may_be_declared_again_as_it_was(self) -> None:
        table = article()
        index(table=table)
        again = index(table=table, active="minilm_v1", filters=FILTERS)
        assert declared_on(table) == {"article_search": again}

    def test_a_retired_embedding_does_not_answer(self) -> None:
        retired = Embedding("old_v1", MODEL, retired=True)
        assert index(embeddings=[retired, EMBEDDING]).active_embedding == EMBEDDING
        assert index(embeddings=[retired]).active_embedding is None
        error = refused(lambda: index(embeddings=[retired, EMBEDDING], active="old_v1"))
        assert "is declared retired" in error.message

    @pytest.mark.parametrize(
        "change", [{"text": {"title": "A"}}, {"filters": []}, {"embeddings": []}]
    )
    def test_two_of_one_name_on_one_table_are_refused(self, change: dict[str, Any]) -> None:
        table = article()
        first = index(table=table)
        error = refused(lambda: index(table=table, **change))
        assert "has two different search indexes 'article_search'" in error.message
        assert declared_on(table) == {"article_search": first}

    def test_a_table_that_was_made_anew_forgets_its_indexes(self) -> None:
        table = article()
        index(table=table)
        table.metadata.remove(table)
        renewed = Table(
            "article", table.metadata, Column("id", Integer, primary_key=True), Column("body", Text)
        )
        declared = SearchIndex("article_search", renewed, text={"body": "A"})
        assert declared_on(renewed) == {"article_search": declared}

    def test_what_is_no_table_is_refused(self) -> None:
        class Base(DeclarativeBase):
            pass

        class Note(Base):
            __tablename__ = "note"
            id: Mapped[int] = mapped_column(primary_key=True)
            body: Mapped[str]

        for table, hint in ((Note, "Note"), ("note", "Article"), (None, "Article")):
            error = refused(partial(index, table=table))
            assert error.message.endswith(f"{table!r} is not a table.")
            assert error.hint == f"Write {hint}.__table__."

    @pytest.mark.parametrize("text", [["title", "body"], "title", None])
    def test_text_that_is_no_mapping_is_refused(self, text: object) -> None:
        error = refused(lambda: index(text=text))
        assert f"text={text!r}" in error.message
        assert "text={'title': 'A', 'body': 'B'}" in (error.hint or "")

    def test_a_filter_that_is_no_list_is_refused(self) -> None:
        error = refused(lambda: index(filters="tenant_id"))
        assert "filters='tenant_id' is not a list" in error.message
        assert error.hint == "Write filters=['tenant_id']."

    def test_the_only_embedding_is_the_active_one(self) -> None:
        other = replace(EMBEDDING, name="minilm_v2")
        assert index(embeddings=[]).active_embedding is None
        assert index().active_embedding is EMBEDDING
        assert index(embeddings=[EMBEDDING, other]).active_embedding is None
        assert index(embeddings=[EMBEDDING, other], active="minilm_v2").active_embedding is other

    @pytest.mark.parametrize(
        ("changes", "message", "hint"),
        [
            ({"text": {}}, "has no text columns", 'text={"title": "A"'),
            ({"text": {"titel": "A"}}, "no column 'titel' to use as text", "'title'"),
            ({"text": {"title": "E"}}, "the weight 'E'", "'A', 'B', 'C' or 'D'"),
            ({"text": {"title": "a"}}, "the weight 'a'", "'A', 'B', 'C' or 'D'"),
            ({"text": {"body": "A"}}, "the heading 'title' is not a text column", '"title": "A"'),
            ({"filters": ["tenant"]}, "no column 'tenant' to use as a filter", "'tenant_id'"),
            ({"filters": ["tenant_id"] * 2}, "the filter 'tenant_id' twice", "once"),
            ({"embeddings": [EMBEDDING] * 2}, "the embedding 'minilm_v1' twice", "own name"),
            ({"active": "bge_v1"}, "active='bge_v1' is not one", "Name one of them"),
            ({"active": "minilm_v1", "embeddings": []}, "it has none", "add an Embedding"),
            ({"name": ""}, "empty name", "name"),
            ({"name": "a\x00b"}, "NUL", "Remove"),
            ({"name": "100%"}, "holds '%'", "Rename"),
            ({"name": "a\nb"}, "holds '\\n'", "Rename"),
            ({"name": "a$function$b"}, "holds '$function$'", "Rename"),
            ({"language": ""}, "language has an empty name", "name"),
        ],
    )
    def test_what_cannot_work_is_refused(
        self, changes: dict[str, Any], message: str, hint: str
    ) -> None:
        error = refused(lambda: index(**changes))
        assert message in error.message
        assert hint in (error.hint or "")

    def test_what_is_refused_is_not_noted_on_the_table(self) -> None:
        table = article()
        refused(lambda: index(table=table, active="bge_v1"))
        assert declared_on(table) == {}

    def test_a_table_without_a_primary_key_is_refused(self) -> None:
        table = Table("log", MetaData(), Column("line", Text))
        error = refused(lambda: SearchIndex("log_search", table, text={"line": "A"}))
        assert "'log' has no primary key" in error.message

    @pytest.mark.parametrize("name", sorted(RESERVED_COLUMNS))
    def test_a_key_column_must_not_be_called_as_a_companions_column(self, name: str) -> None:
        table = Table(
            "t", MetaData(), Column(name, Integer, primary_key=True), Column("words", Text)
        )
        error = refused(lambda: SearchIndex("t_search", table, text={"words": "A"}))
        assert repr(name) in error.message
        assert f"'t_{name}'" in (error.hint or "")

    @pytest.mark.parametrize("name", sorted(RESERVED_PARAMETERS))
    def test_a_filter_must_not_be_called_as_a_parameter(self, name: str) -> None:
        table = Table(
            "t",
            MetaData(),
            Column("id", Integer, primary_key=True),
            Column("words", Text),
            Column(name, Integer),
        )
        error = refused(lambda: SearchIndex("t_search", table, text={"words": "A"}, filters=[name]))
        assert repr(name) in error.message


class TestModel:
    def test_json_round_trip(self) -> None:
        model = replace(MODEL, query_prompt="query: ", normalize=False)
        assert Model.from_json(json.loads(json.dumps(model.to_json()))) == model

    @pytest.mark.parametrize("name", ["/models/minilm", "./minilm", "../minilm", "~/minilm"])
    def test_a_local_folder_needs_no_revision(self, name: str) -> None:
        assert Model(name, dimensions=384).is_local

    def test_a_hub_model_needs_a_revision(self) -> None:
        assert not MODEL.is_local
        for revision in (None, ""):
            error = refused(lambda revision=revision: replace(MODEL, revision=revision))
            assert "has no revision" in error.message
            assert f"Model({MODEL.name!r}, revision=" in (error.hint or "")

    @pytest.mark.parametrize("revision", ["main", "master", "HEAD"])
    def test_a_branch_is_no_revision(self, revision: str) -> None:
        error = refused(lambda: replace(MODEL, revision=revision))
        assert f"revision={revision!r} is a branch" in error.message
        assert "Write the commit" in (error.hint or "")

    def test_other_providers_need_no_revision(self) -> None:
        assert Model("hash-64", dimensions=64, provider="hash").revision is None

    def test_an_empty_name_is_refused(self) -> None:
        assert "empty name" in refused(lambda: replace(MODEL, name="")).message

    @pytest.mark.parametrize("dimensions", [-1, 0, MAX_DIMENSIONS + 1])
    def test_dimensions_are_what_hnsw_takes(self, dimensions: int) -> None:
        error = refused(lambda: replace(MODEL, dimensions=dimensions))
        assert f"dimensions={dimensions}" in error.message
        assert {replace(MODEL, dimensions=n).dimensions for n in (1, 2000)} == {1, 2000}

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(FrozenInstanceError):
            MODEL.dimensions = 2  # type: ignore[misc]


class TestEmbedding:
    @pytest.mark.parametrize(
        ("m", "ef_construction"), [(1, 64), (101, 1000), (16, 31), (2, 3), (16, 1001), (0, 64)]
    )
    def test_what_hnsw_does_not_take_is_refused(self, m: int, ef_construction: int) -> None:
        error = refused(lambda: Embedding("e", MODEL, m=m, ef_construction=ef_construction))
        assert f"m={m}, ef_construction={ef_construction}" in error.message
        assert "16 and 64" in (error.hint or "")

    @pytest.mark.parametrize(("m", "ef_construction"), [(2, 4), (16, 32), (100, 1000)])
    def test_what_hnsw_takes_is_accepted(self, m: int, ef_construction: int) -> None:
        assert Embedding("e", MODEL, m=m, ef_construction=ef_construction).m == m

    @pytest.mark.parametrize("name", ["", "1st", "_v1", "MiniLM", "minilm-v1", "minilm v1", "é"])
    def test_its_name_is_a_lower_case_word(self, name: str) -> None:
        error = refused(lambda: Embedding(name, MODEL))
        assert repr(name) in error.message
        assert "'minilm_v1'" in (error.hint or "")
        assert check_embedding_name("v1_2") == "v1_2"


class TestChunking:
    @pytest.mark.parametrize("max_tokens", [-1, 0, 15, 8193])
    def test_max_tokens_has_bounds(self, max_tokens: int) -> None:
        error = refused(lambda: Chunking(max_tokens, overlap=0))
        assert f"max_tokens={max_tokens}" in error.message
        assert "Chunking(max_tokens=256)" in (error.hint or "")

    @pytest.mark.parametrize("overlap", [-1, 33, 64])
    def test_overlap_is_half_a_chunk_at_most(self, overlap: int) -> None:
        error = refused(lambda: Chunking(64, overlap=overlap))
        assert f"overlap={overlap}" in error.message
        # The hint works as it stands.
        written = re.search(r"max_tokens=(\d+), overlap=(\d+)", error.hint or "")
        assert written is not None
        assert Chunking(int(written[1]), int(written[2])).max_tokens == 64

    def test_the_bounds_themselves_are_accepted(self) -> None:
        assert Chunking(16, overlap=8) != Chunking(8192, overlap=4096)


letters = st.text(
    alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="%$"),
    min_size=1,
    max_size=12,
)
names = letters.filter(lambda name: name not in RESERVED_COLUMNS | RESERVED_PARAMETERS)
plain_texts = st.tuples(names, st.sampled_from("ABCD")).map(lambda parts: TextColumn(*parts))
expressions = st.tuples(
    names, st.sampled_from("ABCD"), st.text(min_size=1), st.lists(names, min_size=1).map(tuple)
).map(lambda parts: TextColumn(*parts))
typed_columns = st.builds(TypedColumn, names, st.sampled_from(["bigint", "text", "numeric(9, 2)"]))


@st.composite
def definitions(draw: st.DrawFn) -> IndexDefinition:
    text = draw(
        st.lists(
            plain_texts | expressions,
            min_size=1,
            max_size=4,
            unique_by=lambda column: column.name,
        )
    )
    heading = draw(st.sampled_from([None, *(column.name for column in text)]))
    return IndexDefinition(
        name=draw(st.text(alphabet="abc_é東", min_size=1, max_size=12)),
        schema=draw(names),
        table=draw(names),
        key=tuple(draw(st.lists(typed_columns, min_size=1, max_size=3))),
        text=tuple(text),
        language=draw(names),
        filters=tuple(
            draw(st.lists(typed_columns, max_size=3, unique_by=lambda column: column.name))
        ),
        chunking=Chunking(draw(st.integers(64, 8192)), draw(st.integers(0, 32)), heading),
        language_column=draw(st.none() | names),
    )


class TestDefinition:
    @settings(deadline=None)
    @given(definitions())
    def test_json_round_trip(self, definition: IndexDefinition) -> None:
        written = json.loads(json.dumps(definition.to_json()))
        assert IndexDefinition.from_json(written) == definition

    def test_the_heading_is_not_part_of_the_body(self) -> None:
        assert index().definition().body_columns == ("body",)
        assert index(chunking=Chunking()).definition().body_columns == ("title", "body")

    @pytest.mark.parametrize(
        "type_",
        [
            "bigint",
            "character varying(20)",
            "numeric(10,2)",
            "numeric(10, 2)",
            "timestamp(3) with time zone",
            "text[]",
            "integer[][]",
            '"MyEnum"',
            'public."MyEnum"[]',
        ],
    )
    def test_types_as_postgresql_shows_them_are_accepted(self, type_: str) -> None:
        assert check_type(type_, "column 'c'") == type_

    @pytest.mark.parametrize("type_", ["", "int; DROP TABLE t", "int)--", "int, x int", "1int"])
    def test_anything_else_is_refused(self, type_: str) -> None:
        error = refused(lambda: check_type(type_, "column 'c'"))
        assert repr(type_) in error.message
        assert "column 'c'" in error.message


class TestNames:
    def test_a_name_of_63_bytes_is_kept(self) -> None:
        assert check("n" * MAX_BYTES, "table") == "n" * MAX_BYTES
        assert check("é" * 31 + "n", "table") == "é" * 31 + "n"

    @pytest.mark.parametrize(
        ("name", "size", "excess"), [("n" * 64, 64, 1), ("é" * 32, 64, 1), ("🙂" * 20, 80, 17)]
    )
    def test_a_longer_one_is_refused_by_its_bytes(self, name: str, size: int, excess: int) -> None:
        error = refused(lambda: check(name, "table"))
        assert f"is {size} bytes long" in error.message
        assert f"{excess} bytes" in (error.hint or "")

    @pytest.mark.parametrize("letter", ["n", "é", "東"])
    def test_an_index_name_is_accepted_only_if_every_derived_name_fits(self, letter: str) -> None:
        width = len(letter.encode())
        accepted = [n for n in range(1, 64) if self.fits(letter * n)]
        longest = max(accepted)
        assert accepted == list(range(1, longest + 1))
        derived = [
            getattr(IndexNames(letter * longest), name)
            for name, value in vars(IndexNames).items()
            if isinstance(value, property) and name not in ("tables", "routines", "secured")
        ]
        assert derived
        sizes = [len(name.encode()) for name in derived]
        assert max(sizes) <= MAX_BYTES
        # And no name is refused without need.
        assert max(sizes) + width > MAX_BYTES

    @staticmethod
    def fits(name: str) -> bool:
        try:
            IndexNames(name).check()
        except DeclarationError:
            return False
        return True

    @pytest.mark.parametrize("table", ["t" * 64, "東" * 22])
    def test_a_long_table_or_column_is_refused(self, table: str) -> None:
        columns = [Column("id", Integer, primary_key=True), Column("words", Text)]
        metadata = MetaData()
        error = refused(
            lambda: SearchIndex("s", Table(table, metadata, *columns), text={"words": "A"})
        )
        assert "The table" in error.message
        wide = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column(table, Text))
        error = refused(lambda: SearchIndex("s", wide, text={table: "A"}))
        assert "The text column" in error.message

    def test_the_names_of_an_embedding_must_fit_too(self) -> None:
        assert index().definition().names.embedding_column("v1") == "embedding_v1"
        assert index().definition().names.hnsw_index("v1") == "article_search_v1_hnsw"
        long = replace(EMBEDDING, name="e" * 50)
        assert "HNSW index" in refused(lambda: index(embeddings=[long])).message
        longer = replace(EMBEDDING, name="e" * 54)
        assert "embedding column" in refused(lambda: index(embeddings=[longer])).message

    def test_lone_surrogates_get_a_clear_error(self) -> None:
        assert "cannot be written" in refused(lambda: check("\ud800", "table")).message


def test_every_error_can_be_caught_as_one_and_as_a_value_error() -> None:
    error = refused(lambda: Chunking(1))
    assert isinstance(error, Error)
    assert isinstance(error, ValueError)


def test_types_are_written_as_postgresql_shows_them() -> None:
    table = Table(
        "article",
        MetaData(),
        Column("id", BigInteger, primary_key=True),
        Column("title", Text),
        Column("mood", Enum("good", "bad", name="Mood")),
        Column("code", String(20, collation="C")),
        Column("at", DateTime(timezone=True)),
    )
    index = SearchIndex("found", table, text={"title": "A"}, filters=["mood", "code", "at"])
    types = [column.type for column in index.definition().filters]
    assert types == ['"Mood"', "varchar(20)", "timestamp with time zone"]
