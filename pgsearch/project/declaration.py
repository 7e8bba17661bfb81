"""The module that declares a search index: what is wanted, and its text."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgsearch.names import embedding_name

if TYPE_CHECKING:
    from sqlalchemy import Table

    from pgsearch.declare import SearchIndex


@dataclass(frozen=True)
class Wanted:
    """A search index to declare.

    Args:
        table: The table's key in its metadata: `article`, or `shop.article` with a schema.
        text: Text columns with their weights.
        model: Arguments of `Model`, `name` among them; None for keywords only.
    """

    table: str
    text: Mapping[str, str]
    model: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The search index's name."""
        return f"{self.table.rpartition('.')[2]}_search"

    @property
    def variable(self) -> str:
        """What the module calls it."""
        word = re.sub(r"\W", "_", self.name).lower()
        return f"_{word}" if word[0].isdigit() or keyword.iskeyword(word) else word

    @property
    def embedding(self) -> str:
        """The embedding's name, from the model's: `all_minilm_l6_v2`."""
        return embedding_name(str((self.model or {}).get("name", "")))

    def declare(self, table: Table) -> SearchIndex:
        """Return the declaration itself.

        Raises:
            DeclarationError: It cannot work.
        """
        from pgsearch.declare import Embedding, Model, SearchIndex

        embeddings = [Embedding(self.embedding, Model(**self.model))] if self.model else []
        return SearchIndex(self.name, table, text=dict(self.text), embeddings=embeddings)


@dataclass(frozen=True)
class Place:
    """Where a table is found.

    Args:
        module: The module's dotted name.
        file: The module's file.
        name: What to import from it.
        expression: The table, with that name.
    """

    module: str
    file: str
    name: str
    expression: str


def render(wanted: Wanted, place: Place) -> str:
    """Return the text of a module that declares a search index."""
    names = "Embedding, Model, SearchIndex" if wanted.model else "SearchIndex"
    text = ", ".join(f"{_quoted(c)}: {_quoted(w)}" for c, w in wanted.text.items())
    lines = [
        '"""What is searched, and how: the search indexes of this project."""',
        "",
        f"from pgsearch import {names}",
        "",
        f"from {place.module} import {place.name}",
        "",
        f"{wanted.variable} = SearchIndex(",
        f"    {_quoted(wanted.name)},",
        f"    {place.expression},",
        f"    text={{{text}}},",
    ]
    if wanted.model:
        arguments = dict(wanted.model)
        lines += [
            "    embeddings=[",
            "        Embedding(",
            f"            {_quoted(wanted.embedding)},",
            "            Model(",
            f"                {_quoted(arguments.pop('name'))},",
            *(f"                {key}={_quoted(value)}," for key, value in arguments.items()),
            "            ),",
            "        ),",
            "    ],",
        ]
    return "\n".join([*lines, ")", ""])


def _quoted(value: object) -> str:
    """Return a string or number as Python writes it, in double quotes."""
    return json.dumps(value, ensure_ascii=False)
