"""Texts that are no columns: which columns of the table they read."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import ARRAY, JSON, Column, Computed, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from pgsearch import Chunking, Expression, SearchIndex
from pgsearch.definition import TextColumn
from pgsearch.errors import DeclarationError


def text(**declared: Any) -> tuple[TextColumn, ...]:
    """Return the texts of a search index on a table with a column of each kind."""
    table = Table(
        "t",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("title", Text),
        Column("Sub Title", Text),
        Column("data", JSON),
        Column("payload", JSONB),
        Column("tags", ARRAY(Text)),
        Column("virtual", Text, Computed("upper(title)", persisted=False)),
        Column("stored", Text, Computed("upper(title)", persisted=True)),
    )
    return SearchIndex("t_search", table, text=declared).definition().text


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("payload ->> 'summary'", ("payload",)),
        ("title || ' ' || \"Sub Title\"", ("title", "Sub Title")),
        ("TITLE", ("title",)),
        # Too often does no harm: a word of a literal.
        ("coalesce(payload ->> 'title', '')", ("title", "payload")),
        ("subtitles.title_of(data)", ("data",)),
    ],
)
def test_columns_are_found_by_their_names(sql: str, columns: tuple[str, ...]) -> None:
    (found,) = text(summary=Expression(sql, weight="B"))
    assert found == TextColumn("summary", "B", sql, columns)


def test_columns_may_be_named() -> None:
    (found,) = text(all=Expression("everything(t)", weight="A", columns=["title", "data"]))
    assert found.columns == ("title", "data")


def test_what_is_no_text_becomes_an_expression() -> None:
    found = text(data="A", payload="B", tags="C", virtual="D", stored="D")
    assert [column.sql for column in found] == [
        'pgsearch.json_text("data")',
        'pgsearch.json_text("payload")',
        "array_to_string(\"tags\", ' ')",
        "upper(title)",
        None,
    ]
    assert [column.read for column in found] == [
        ("data",),
        ("payload",),
        ("tags",),
        ("title",),
        ("stored",),
    ]


def test_an_expression_must_read_a_column() -> None:
    with pytest.raises(DeclarationError, match=r"'now' .* names no column of the table") as caught:
        text(now=Expression("now()::text", weight="A"))
    assert "columns=[…]" in str(caught.value.hint)
    with pytest.raises(DeclarationError, match="no column 'titel' to use as part of"):
        text(title=Expression("upper(title)", weight="A", columns=["titel"]))
    with pytest.raises(DeclarationError, match="has the weight 'E'"):
        text(title=Expression("upper(title)", weight="E"))


def test_an_expression_can_be_the_heading() -> None:
    table = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("data", JSONB))
    index = SearchIndex(
        "t_search",
        table,
        text={"name": Expression("data ->> 'name'", weight="A"), "data": "B"},
        chunking=Chunking(heading="name"),
    )
    assert index.definition().body_columns == ("data",)
    assert index.definition().read_columns == ("data",)
