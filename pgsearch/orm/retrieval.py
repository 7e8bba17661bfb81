"""A search as texts with their metadata: what the retrievers of other libraries have in common."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Engine,
    Select,
    SQLColumnExpression,
    Table,
    Text,
    cast,
    column,
    func,
    inspect,
    select,
    table,
)
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from pgsearch.declare import SearchIndex
from pgsearch.errors import DeclarationError
from pgsearch.orm.hit import Hit
from pgsearch.orm.select import search
from pgsearch.orm.statement import HIT_COLUMNS, PASSAGE_COLUMNS
from pgsearch.orm.target import find_index, list_conditions

#: Where a search is executed: with a session of its own for each.
Sessions: TypeAlias = Engine | sessionmaker[Session]
AsyncSessions: TypeAlias = AsyncEngine | async_sessionmaker[AsyncSession]

#: What a text may be: the nearest passage of the document, or all of its text.
CONTENTS: Final = ("passage", "document")

#: What of a hit is in the metadata.
HIT_FIELDS: Final = ("score", "keyword_score", "similarity", "stale")

#: What of a passage is there, too.
PASSAGE_FIELDS: Final = ("ordinal", "document_score")

#: Characters of a text that stand for a token where no worker has counted them yet.
_CHARS_PER_TOKEN: Final = 4


class Found(NamedTuple):
    """One result of a search.

    Attributes:
        id: The key of the row as text; of a passage, with its ordinal behind a `#`.
        text: Its nearest passage, or all of its text.
        metadata: Its key, the columns that were asked for, `HIT_FIELDS`, and of a passage
            `PASSAGE_FIELDS`.
    """

    id: str
    text: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Retrieval:
    """Searches that differ in their query, and what they give of a row.

    A session is opened for each search and closed behind it.

    Args:
        source: A mapped class, a table or a SearchIndex.
        engine: An engine or a sessionmaker.
        async_engine: An AsyncEngine or an async_sessionmaker.
        content: "passage" or "document".
        columns: Columns of the row for the metadata: names of attributes of a mapped class, or
            keys of columns of a table.
        options: More arguments of `search`.

    Raises:
        DeclarationError: Something of this cannot be used; its hint says what can.
    """

    source: Any
    engine: Sessions | None = None
    async_engine: AsyncSessions | None = None
    content: str = "passage"
    columns: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_engines()
        if self.content not in CONTENTS:
            raise DeclarationError(
                f"There is no content {self.content!r}.",
                hint=f"There are {' and '.join(map(repr, CONTENTS))}.",
            )
        if isinstance(self.columns, str):
            raise DeclarationError(
                f"columns={self.columns!r} is not a list of columns.",
                hint=f"Write columns=[{self.columns!r}].",
            )
        index = find_index(self.source, self.options.get("index"))
        self._row(index.source_table)
        self._check_passages(self.options)

    def ask(self, query: str, **more: Any) -> list[Found]:
        """Search, and return what was found, best first.

        Args:
            query: What is asked.
            more: Arguments of `search` for this query; a `where` narrows further.

        Raises:
            QueryError: The query cannot be answered.
            DeclarationError: There is no engine for it but an async one.
            ModelUnavailable: The model cannot be loaded.
        """
        if self.engine is None:
            raise DeclarationError(
                "The retriever has an async engine only.",
                hint="Pass engine=… too, or await the asynchronous method.",
            )
        statement = self.statement(query, **more)
        with Session(self.engine) if isinstance(self.engine, Engine) else self.engine() as session:
            return self._found(session.execute(statement).all())

    async def ask_async(self, query: str, **more: Any) -> list[Found]:
        """Search as `ask` does; in a thread if there is no async engine."""
        given = self.async_engine
        if given is None:
            return await asyncio.to_thread(self.ask, query, **more)
        # The model makes the query's vector here, which takes its time.
        statement = await asyncio.to_thread(self.statement, query, **more)
        async with AsyncSession(given) if isinstance(given, AsyncEngine) else given() as session:
            return self._found((await session.execute(statement)).all())

    def statement(self, query: str, **more: Any) -> Select[Any]:
        """Return the Select of one search: columns of the row, its text, and the hit's."""
        options = {**self.options, **more}
        options["where"] = [
            *list_conditions(self.options.get("where")),
            *list_conditions(more.get("where")),
        ]
        self._check_passages(options)
        index = find_index(self.source, options.get("index"))
        found = search(self.source, query, **options)
        if isinstance(self.source, (Table, SearchIndex)):
            # The table's columns, and then the hit's.
            hit = list(found.selected_columns)[len(index.source_table.columns) :]
        else:
            hit = list(found.column_descriptions[1]["expr"].exprs)
        # Without what else may be said of a hit.
        fields = len(HIT_COLUMNS) + (len(PASSAGE_COLUMNS) if options.get("passages") else 0)
        hit = hit[:fields]
        text = _text(index, self.content, hit[Hit._fields.index("passage")])
        row = self._row(index.source_table).values()
        return found.with_only_columns(*row, text.label("text"), *hit)

    def _found(self, rows: Iterable[Sequence[Any]]) -> list[Found]:
        index = find_index(self.source, self.options.get("index"))
        names = list(self._row(index.source_table))
        keys = len(index.source_table.primary_key.columns)
        labels = [str(column.key) for column in (*HIT_COLUMNS, *PASSAGE_COLUMNS)]
        found = []
        for row in rows:
            values, text = row[: len(names)], row[len(names)]
            hit = dict(zip(labels, row[len(names) + 1 :], strict=False))
            scores = {name: hit[name] for name in (*HIT_FIELDS, *PASSAGE_FIELDS) if name in hit}
            metadata = dict(zip(names, values, strict=True)) | scores
            id_ = _id(values[:keys])
            if hit.get("ordinal") is not None:
                id_ += f"#{hit['ordinal']}"
            found.append(Found(id_, text, metadata))
        return found

    def _row(self, source: Table) -> dict[str, SQLColumnExpression[Any]]:
        """Return what is selected of the row, by its name in the metadata: the key first."""
        columns: Mapping[str, SQLColumnExpression[Any]]
        if isinstance(self.source, (Table, SearchIndex)):
            columns = dict(source.columns)
            key = [str(column.key) for column in source.primary_key.columns]
        else:
            mapper = inspect(self.source)
            names = [attribute.key for attribute in mapper.column_attrs]
            columns = {name: getattr(self.source, name) for name in names}
            key = [mapper.get_property_by_column(c).key for c in source.primary_key.columns]
        wanted = list(dict.fromkeys((*key, *self.columns)))
        for name in wanted:
            if name not in columns:
                raise DeclarationError(
                    f"Table {source.name!r} has no column {name!r} for the metadata.",
                    hint=f"There are {', '.join(map(repr, columns))}.",
                )
            if name in HIT_FIELDS:
                raise _taken(name, "hit")
        return {name: columns[name] for name in wanted}

    def _check_passages(self, options: Mapping[str, Any]) -> None:
        """Raise if passages are asked for and cannot be given as is said."""
        if not options.get("passages"):
            return
        if self.content == "document":
            raise DeclarationError(
                "content='document' and passages=True exclude each other.",
                hint="Leave content out: the text of a passage is the passage.",
            )
        index = find_index(self.source, options.get("index"))
        for name in self._row(index.source_table):
            if name in PASSAGE_FIELDS:
                raise _taken(name, "passage")

    def _check_engines(self) -> None:
        if self.engine is None and self.async_engine is None:
            raise DeclarationError(
                "The retriever has no engine.", hint="Pass engine=…, or async_engine=…, or both."
            )
        if self.engine is not None and not isinstance(self.engine, (Engine, sessionmaker)):
            raise DeclarationError(
                f"engine is of {type(self.engine)}.",
                hint="Pass an Engine or a sessionmaker; async ones are passed as async_engine=….",
            )
        if self.async_engine is not None and not isinstance(
            self.async_engine, (AsyncEngine, async_sessionmaker)
        ):
            raise DeclarationError(
                f"async_engine is of {type(self.async_engine)}.",
                hint="Pass an AsyncEngine or an async_sessionmaker.",
            )


def _taken(name: str, result: str) -> DeclarationError:
    return DeclarationError(
        f"The column {name!r} has a name that the metadata of a {result} has too.",
        hint="Map it by another name, or leave it out.",
    )


def _id(key: Sequence[Any]) -> str:
    """Return a key as text; one of several columns as a JSON array, so that no two are alike."""
    if len(key) == 1:
        return str(key[0])
    return json.dumps([*key], ensure_ascii=False, default=str)


def _text(index: SearchIndex, content: str, passage: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the text of a result.

    A row that no worker has read yet is found by its words and has no passage: of such a row
    it is the beginning, as long as a passage may be.
    """
    definition = index.definition()
    heading = definition.chunking.heading
    parts = _texts(index)
    ordered = [parts[name] for name in (heading, *definition.body_columns) if name is not None]
    whole = func.concat_ws(
        "\n\n", *(func.nullif(func.btrim(part, " \n\r\t"), "") for part in ordered)
    )
    if content == "document":
        return whole
    length = _CHARS_PER_TOKEN * definition.chunking.max_tokens
    return func.coalesce(passage, func.left(whole, length))


def _texts(index: SearchIndex) -> dict[str, ColumnElement[Any]]:
    """Return the texts of a row by name, as the search index reads them.

    Expressions are evaluated by the view of the search index, where they fail on no row.
    """
    definition, rows = index.definition(), index.source_table
    columns = {column.name: column for column in rows.columns}
    key = [column.name for column in definition.key]
    view = table(
        definition.names.source,
        *map(column, key),
        column("texts", ARRAY(Text)),
        schema=definition.schema,
    ).alias("source")
    same_row = [view.c[name] == columns[name] for name in key]
    return {
        text.name: cast(columns[text.name], Text)
        if text.sql is None
        else select(view.c.texts[number]).where(*same_row).scalar_subquery()
        for number, text in enumerate(definition.text, start=1)
    }
