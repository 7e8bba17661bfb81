"""What `pgsearch search` asks a search index, and the rows that answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pgsearch.errors import LifecycleError, QueryError

if TYPE_CHECKING:
    from psycopg.sql import Composable, Composed

    from pgsearch.database import Connection
    from pgsearch.definition import IndexDefinition
    from pgsearch.registry import RegisteredEmbedding, RegisteredIndex


@dataclass(frozen=True)
class Question:
    """What is asked.

    Args:
        query: The text; None where rows are asked for that are like others.
        like: Keys of those, as they are written on a command line.
        k: How many results.
        skip: How many are left out before them.
        mode: "hybrid", "keyword" or "vector".
        embedding: The embedding that answers, if not the active one.
        options: More parameters of the search function, by name; None is left out.
        filters: Parameters for filters and their values, as in "tenant_id=7".
        snippets: Whether hits have a snippet.
        explain: Whether hits have an explanation.
        passages: Whether passages are asked for instead of rows.
    """

    query: str | None
    like: Sequence[str]
    k: int
    skip: int
    mode: str
    embedding: str | None
    options: dict[str, Any]
    filters: Sequence[str]
    snippets: bool
    explain: bool
    passages: bool

    def ask(self, connection: Connection, index: RegisteredIndex) -> list[dict[str, Any]]:
        """Return the hits, best first, as the search function's columns have them.

        Raises:
            QueryError: Something of it is not to be asked of this search index.
            LifecycleError: No embedding is active that has to answer.
            ModelError: The embedding's model cannot make the query's vector.
        """
        from psycopg.rows import dict_row

        if self.embedding is None and self.query is not None and self.mode != "keyword":
            chosen = _canary(connection, index, self.query)
            if chosen is not None:
                return replace(self, embedding=chosen).ask(connection, index)
        embedding = self._embedding(index)
        vector = None
        if self.like:
            vector = self._vector_of_examples(connection, index, embedding)
        elif self.query is not None and embedding is not None and self.mode != "keyword":
            vector = _vector_of_text(embedding, self.query)
        statement = self._statement(index, vector)
        with connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement).fetchall()

    def _embedding(self, index: RegisteredIndex) -> RegisteredEmbedding | None:
        """Return the embedding that makes the query's vector; None while keywords answer."""
        if self.embedding is not None:
            named = {embedding.name: embedding for embedding in index.embeddings}
            if self.embedding not in named:
                raise QueryError(
                    f"Search index {index.name!r} has no embedding {self.embedding!r}.",
                    hint="It has " + (", ".join(named) or "none") + ".",
                )
            return named[self.embedding]
        if index.active is None and self.mode == "vector":
            raise LifecycleError(
                f"No embedding of search index {index.name!r} is active yet.",
                hint="Run `pgsearch sync`; until then, keywords answer.",
            )
        return index.active

    def _statement(self, index: RegisteredIndex, vector: str | None) -> Composed:
        from psycopg.sql import SQL, Identifier, Literal

        from pgsearch import resources
        from pgsearch.schema.templates import columns, definition_holes, key_names

        key = columns(key_names(index.definition), "hit")
        others: Composable = SQL("")
        skip, k = self.skip, self.k
        if self.like:
            # The examples are the most similar of all.
            others = SQL("WHERE ({}) NOT IN ({}) LIMIT {} OFFSET {}").format(
                key, self._keys(index), self.k, self.skip
            )
            skip, k = 0, self.k + self.skip + len(self.like)
        arguments = {
            "query": self.query,
            "k": k,
            "vector": vector,
            "mode": self.mode,
            "embedding": self.embedding,
            "skip": skip or None,
            **self.options,
            **self._filters(index),
        }
        # What is left out is what an older search index does not know, either.
        given = [
            SQL("{} => {}").format(Identifier(name), Literal(value))
            for name, value in arguments.items()
            if value is not None or name == "query"
        ]
        holes = definition_holes(index.definition)
        holes |= {"hit_key": key, "others": others, "arguments": SQL(", ").join(given)}
        # Without vectors keywords answer.
        answering = "keyword" if vector is None and index.active is None else self.mode
        asked, more = self._more(index.definition, answering, holes)
        if self.passages:
            holes["search"] = holes["passages"]
        template = SQL(resources.sql("command/search.sql"))
        return template.format(**{**holes, "asked": asked, "more": more})

    def _more(
        self, definition: IndexDefinition, mode: str, holes: dict[str, Composable]
    ) -> tuple[Composable, Composable]:
        """Return what comes before the statement, and what it selects beside a hit."""
        from psycopg.sql import SQL, Literal

        from pgsearch import resources
        from pgsearch.schema.search import BUDGET, asked_terms, hybrid_budget

        asked, more = SQL("").format(), SQL("").format()
        if self.query is None:
            return asked, more
        wanted, language = self.k + self.skip, self.options.get("query_language")
        configuration = SQL("{}::regconfig").format(holes["language"])
        if language is not None:
            chosen = SQL("pgsearch.query_configuration({}, {})")
            configuration = chosen.format(Literal(language), configuration)
        if self.snippets:
            made = SQL(",\n  pgsearch.snippet({}, hit.passage, {}) AS snippet")
            more += made.format(configuration, Literal(self.query))
        if self.explain:
            narrowed = bool(self.filters) or '"' in self.query or "-" in self.query
            holes = holes | {
                "query": Literal(self.query),
                "keyword_depth": Literal(max(50, wanted)),
                "budget": Literal(BUDGET) if narrowed else hybrid_budget(definition),
                "terms_configuration": SQL("")
                if language is None
                else SQL(", {}").format(configuration),
            }
            holes["asked_terms"] = asked_terms(mode, holes)
            asked = SQL(resources.sql("command/terms.sql")).format(**holes)
            more += SQL(resources.sql("command/explanation.sql").rstrip()).format(**holes)
        return asked, more

    def _filters(self, index: RegisteredIndex) -> dict[str, str]:
        from pgsearch.schema.filters import filter_parameters

        known = [parameter.name for parameter in filter_parameters(index.definition)]
        given = {}
        for each in self.filters:
            name, equals, value = each.partition("=")
            if not equals or name not in known:
                raise QueryError(
                    f"{each!r} is no filter of search index {index.name!r}.",
                    hint="Write one as name=value, a list as name_in='{one,other}'. There is "
                    + (", ".join(known) or "none: declare filters=[…] on the SearchIndex")
                    + ".",
                )
            given[name] = value
        return given

    def _vector_of_examples(
        self, connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding | None
    ) -> str:
        from psycopg.sql import SQL, Identifier

        from pgsearch import resources
        from pgsearch.schema.templates import definition_holes

        holes: dict[str, Composable] = {"keys": self._keys(index)}
        if embedding is not None:
            holes["embedding"] = Identifier("chunk", embedding.column)
        template = SQL(resources.sql("command/vector.sql"))
        statement = template.format(**definition_holes(index.definition), **holes)
        row = connection.execute(statement).fetchone()
        if row is None or row[0] is None:
            raise QueryError(
                f"Search index {index.name!r} holds no vector of {', '.join(self.like)}.",
                hint="Is it the key of a row? One that was just written has none until a worker "
                "has read it: see `pgsearch status`.",
            )
        vector: str = row[0]
        return vector

    def _keys(self, index: RegisteredIndex) -> Composable:
        """Return the keys of the examples as a list of rows."""
        from psycopg.sql import SQL, Literal

        rows = []
        for text in self.like:
            values = _key(text, len(index.definition.key))
            if values is None:
                names = ", ".join(column.name for column in index.definition.key)
                raise QueryError(
                    f"{text!r} is no key of search index {index.name!r}.",
                    hint=f"Write the values of {names} as a JSON array.",
                )
            rows.append(SQL("({})").format(SQL(", ").join(map(Literal, values))))
        return SQL(", ").join(rows)


def _key(text: str, columns: int) -> list[str] | None:
    """Return the values of a key; None unless it has as many as there are columns."""
    if columns == 1:
        return [text]
    try:
        values = json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        return None
    is_key = isinstance(values, list) and len(values) == columns
    return [str(value) for value in values] if is_key else None


def _canary(connection: Connection, index: RegisteredIndex, query: str) -> str | None:
    """Return the candidate that answers a query instead of the active embedding, if one does."""
    row = connection.execute(
        "SELECT pgsearch.canary_embedding(%s, %s, %s, false)",
        [index.definition.schema, index.definition.name, query],
    ).fetchone()
    return row[0] if row else None


def _vector_of_text(embedding: RegisteredEmbedding, query: str) -> str:
    from pgsearch import models

    return models.load(embedding.model).embed_queries([query])[0].to_text()
