"""What a user declares: a search index beside a table, its embeddings and their models."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import TYPE_CHECKING, Any, cast

from pgsearch import address, names
from pgsearch.definition import (
    BM25,
    Chunking,
    Expression,
    IndexDefinition,
    TextColumn,
    TypedColumn,
    text_of,
)
from pgsearch.errors import DeclarationError
from pgsearch.precision import MAX_DIMENSIONS, Precision

if TYPE_CHECKING:
    from sqlalchemy import Column, FromClause, Table

__all__ = ["BM25", "Chunking", "Embedding", "Expression", "Model", "SearchIndex", "declared_on"]

_INFO_KEY = "pgsearch"

#: Revisions that are not a commit for sure.
_BRANCHES = frozenset({"main", "master", "head", "dev", "develop", "trunk", "latest"})

PRECISIONS = ("float32", "float16", "bfloat16")

#: What the registry has had of every model from the first version on.
_FIRST_FIELDS = frozenset(
    {
        "name",
        "dimensions",
        "revision",
        "provider",
        "query_prompt",
        "document_prompt",
        "normalize",
    }
)

#: Fields that a provider makes nothing of.
_NOT_OF: dict[str, tuple[str, ...]] = {
    "sentence-transformers": ("url", "key_variable", "max_tokens", "tokenizer"),
    "openai": ("precision",),
}


@dataclass(frozen=True)
class Model:
    """What makes vectors, pinned.

    Whatever changes its vectors is part of it. What does not, such as the device that it runs
    on, is read from the environment of the process that loads it; see docs/models.md.

    Args:
        name: A name on the Hugging Face hub or the path of a local folder; with the provider
            "openai", what the endpoint calls it.
        dimensions: Length of its vectors, 1 to 16000; of more than 2000 an `Embedding` says what
            its graph holds instead of them.
        revision: The hub commit; a hub model must have one, a local folder has none.
        provider: Which Embedder loads it; see `pgsearch.models`.
        query_prompt: Text put in front of a query.
        document_prompt: Text put in front of a chunk.
        normalize: Whether vectors are scaled to length 1.
        url: Of the provider "openai": where it is, as in "https://tei.internal/v1", or the name
            of the environment variable that says so; None for OPENAI_BASE_URL, else OpenAI.
        key_variable: Of the provider "openai": the name of the environment variable that holds
            the key. None for OPENAI_API_KEY if `url` is None or OpenAI's, and no key elsewhere.
        max_tokens: The window, where the provider cannot ask the model: "openai" takes 8191.
        tokenizer: Of the provider "openai": a folder with the model's `tokenizer.json`, to count
            tokens with; None to estimate their number, rather too high than too low.
        truncate: Whether the model's own vectors are longer and are cut to `dimensions`, for a
            model that was trained for it (Matryoshka).
        precision: What the model computes in: "float32", "float16" or "bfloat16".
    """

    name: str
    _: KW_ONLY
    dimensions: int
    revision: str | None = None
    provider: str = "sentence-transformers"
    query_prompt: str = ""
    document_prompt: str = ""
    normalize: bool = True
    url: str | None = None
    key_variable: str | None = None
    max_tokens: int | None = None
    tokenizer: str | None = None
    truncate: bool = False
    precision: str = "float32"

    def __post_init__(self) -> None:
        if not self.name:
            raise DeclarationError(
                "A model has an empty name.",
                hint="Write Model('sentence-transformers/all-MiniLM-L6-v2', …).",
            )
        if not 1 <= self.dimensions <= MAX_DIMENSIONS:
            raise DeclarationError(
                f"Model {self.name!r}: dimensions={self.dimensions} is outside 1 to "
                f"{MAX_DIMENSIONS}, which is what a column of vectors takes.",
                hint="Write the length of the model's vectors. Longer ones may be cut, if the "
                "model was trained for it: truncate=True.",
            )
        if self.provider == "sentence-transformers" and not self.is_local:
            self._check_revision()
        self._check_provider()
        self._check_endpoint()
        if self.precision not in PRECISIONS:
            raise DeclarationError(
                f"Model {self.name!r}: precision={self.precision!r} is unknown.",
                hint=f"Write one of {', '.join(map(repr, PRECISIONS))}.",
            )
        if self.max_tokens is not None and self.max_tokens < 1:
            raise DeclarationError(
                f"Model {self.name!r}: max_tokens={self.max_tokens} leaves no room for a text.",
                hint="Write how many tokens of a text the model sees, as in max_tokens=512.",
            )

    def _check_revision(self) -> None:
        if not self.revision:
            raise DeclarationError(
                f"Model {self.name!r} has no revision: a hub model can change under its name.",
                hint=f"Write Model({self.name!r}, revision='<commit on the hub>', …).",
            )
        if self.revision.lower() in _BRANCHES:
            raise DeclarationError(
                f"Model {self.name!r}: revision={self.revision!r} is a branch, and a branch moves.",
                hint=f"Write the commit: Model({self.name!r}, revision='<commit on the hub>', …).",
            )

    def _check_provider(self) -> None:
        """Refuse what the provider makes nothing of; one from elsewhere may use any field."""
        defaults = {each.name: each.default for each in fields(self)}
        for name in _NOT_OF.get(self.provider, ()):
            if getattr(self, name) != defaults[name]:
                raise DeclarationError(
                    f"Model {self.name!r}: the provider {self.provider!r} makes nothing of {name}.",
                    hint=f"Leave {name} out, or name another provider.",
                )

    def _check_endpoint(self) -> None:
        # What is refused here may hold a secret: it is not quoted.
        if self.url is not None and not address.VARIABLE.fullmatch(self.url):
            reason = address.flaw(self.url)
            if reason is not None:
                raise DeclarationError(
                    f"Model {self.name!r}: its url {reason}.",
                    hint="Write one such as url='https://tei.internal/v1', and put the key into "
                    "an environment variable that key_variable names.",
                )
        if self.key_variable is not None and not address.KEY_VARIABLE.fullmatch(self.key_variable):
            raise DeclarationError(
                f"Model {self.name!r}: key_variable is not the name of an environment variable "
                "in capital letters with an underscore.",
                hint="Write the name and never the key: key_variable='OPENAI_API_KEY'.",
            )

    @property
    def is_local(self) -> bool:
        """Whether the name is the path of a folder: it starts with `/`, `.` or `~`."""
        return self.name.startswith(("/", ".", "~"))

    def __repr__(self) -> str:
        """Return the declaration as it is written, without what is left at its default."""
        written = [repr(self.name)]
        for each in fields(self):
            value = getattr(self, each.name)
            if each.kw_only and value != each.default:
                written.append(f"{each.name}={value!r}")
        return f"Model({', '.join(written)})"

    def to_json(self) -> dict[str, Any]:
        """Return the model as the registry keeps it.

        A field that was added later is left out at its default: an older pgsearch can read it.
        """
        return {
            each.name: value
            for each in fields(self)
            if (value := getattr(self, each.name)) != each.default or each.name in _FIRST_FIELDS
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Model:
        """Read what `to_json` wrote, of this version or an earlier one.

        Raises:
            DeclarationError: A later version wrote it, with a field that is unknown here.
        """
        unknown = sorted(value.keys() - {each.name for each in fields(cls)})
        if unknown:
            raise DeclarationError(
                f"Model {value.get('name')!r} is registered with {', '.join(unknown)}, of which "
                "this version of pgsearch knows nothing.",
                hint="Install the version of pgsearch here that its migrations were run with.",
            )
        return cls(**value)


@dataclass(frozen=True)
class Embedding:
    """One model version inside a search index: a column with its HNSW index.

    Args:
        name: A lower-case word such as `minilm_v1`; the column is `embedding_minilm_v1`.
        model: The model that fills it.
        m: HNSW: neighbours per node, 2 to 100.
        ef_construction: HNSW: candidates looked at for each node, 4 to 1000, at least 2 m.
        type: What its column is of: "vector", or "halfvec", which takes half the room.
        index: What its HNSW graph holds: "vector", "halfvec" or "bit", which takes a thirty-second;
            what it finds is then ranked by the column's vectors. None: what the column does.
        adopt: A column of the table that holds vectors which this model has made before; they
            are taken over when the embedding is added. It may be left out later.
        price: What a million tokens cost at the model's provider, in whatever currency: then
            `pgsearch status` and `pgsearch compare` say what a fill costs, by an estimate.
        retired: Whether it is kept as it is, for a while: workers no longer embed for it, and no
            search may ask for it. Taken back, it is filled with what has changed.
    """

    name: str
    model: Model
    _: KW_ONLY
    m: int = 16
    ef_construction: int = 64
    type: str = "vector"
    index: str | None = None
    adopt: str | None = field(default=None, compare=False)
    price: float | None = field(default=None, compare=False)
    retired: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        names.check_embedding_name(self.name)
        if not 2 <= self.m <= 100 or not max(4, 2 * self.m) <= self.ef_construction <= 1000:
            raise DeclarationError(
                f"Embedding {self.name!r}: m={self.m}, ef_construction={self.ef_construction} "
                "is not what HNSW takes: m from 2 to 100, ef_construction from 2 m to 1000.",
                hint="Leave both out for pgvector's defaults, 16 and 64.",
            )
        if self.price is not None and not 0 < self.price < math.inf:
            raise DeclarationError(
                f"Embedding {self.name!r}: price={self.price!r} is no price.",
                hint="Write what a million tokens cost, or leave it out.",
            )
        self.precision.check(self.name)
        if self.index == self.type:
            # Said or not, it is the same.
            object.__setattr__(self, "index", None)

    @property
    def precision(self) -> Precision:
        """The type of its column and of its graph."""
        return Precision(self.model.dimensions, self.type, self.index or self.type)


@dataclass(frozen=True)
class SearchIndex:
    """A search index over one table, declared beside it.

    Declaring it notes it on the table, so that `search(Article, …)` finds it.

    Args:
        name: Name of the search index; the search function is called so.
        table: The SQLAlchemy `Table`, as in `Article.__table__`.
        text: Text columns with their tsvector weights, as in {"title": "A", "body": "B"}, and
            SQL expressions by a name of your own: {"notes": Expression("data ->> 'notes'", …)}.
            Of a JSON column all string values are read, of an array its elements.
        language: Text search configuration.
        language_column: A column that names a row's own, as in 'german' or 'de'; rows that name
            none are read in `language`.
        filters: Columns that the search function takes as named parameters.
        chunking: How text is cut into passages.
        embeddings: The model versions.
        active: Name of the embedding that answers queries; the only one needs no naming.
        stale: What becomes of passages of a text that has changed, until its new ones are
            embedded: "serve" finds them, marked, "hide" does not.
        notify: Whether a change wakes the workers at once. It takes a lock of the whole server
            at each commit; without it they look every tenth of a second.
        bm25: How keywords are ranked.

    Raises:
        DeclarationError: The declaration cannot work; its hint says what to write instead.
    """

    name: str
    table: FromClause
    _: KW_ONLY
    text: Mapping[str, str | Expression]
    language: str = "english"
    language_column: str | None = None
    filters: Sequence[str] = ()
    chunking: Chunking = field(default_factory=Chunking)
    embeddings: Sequence[Embedding] = ()
    active: str | None = None
    stale: str = "serve"
    notify: bool = False
    bm25: BM25 = field(default_factory=BM25)

    def __post_init__(self) -> None:
        self._check_types()
        definition = self.definition()
        self._check_embeddings(definition.names)
        # On the metadata and not on the table, whose `info` Alembic writes into migrations.
        noted = self.source_table.metadata.info.setdefault(_INFO_KEY, {})
        declared = noted.setdefault(self.source_table.key, {})
        self._check_unlike(declared.get(self.name))
        declared[self.name] = self

    def _check_types(self) -> None:
        from sqlalchemy import Table

        given: Any = self.table
        if not isinstance(given, Table):
            mapped = given.__name__ if isinstance(given, type) else "Article"
            raise DeclarationError(
                f"Search index {self.name!r}: {given!r} is not a table.",
                hint=f"Write {mapped}.__table__.",
            )
        if not isinstance(self.text, Mapping):
            raise DeclarationError(
                f"Search index {self.name!r}: text={self.text!r} gives its columns no weights.",
                hint="Write text={'title': 'A', 'body': 'B'}: a weight from A to D for each.",
            )
        if isinstance(self.filters, str):
            raise DeclarationError(
                f"Search index {self.name!r}: filters={self.filters!r} is not a list of columns.",
                hint=f"Write filters=[{self.filters!r}].",
            )

    def _check_unlike(self, earlier: SearchIndex | None) -> None:
        """Refuse another index of this name on this table; a module may be loaded again."""
        if earlier is None or earlier.table is not self.table:
            return

        def content(index: SearchIndex) -> tuple[object, ...]:
            return index.definition(), tuple(index.embeddings), index.active_embedding

        if content(earlier) != content(self):
            raise DeclarationError(
                f"Table {self.source_table.name!r} has two different search indexes {self.name!r}.",
                hint="Give each its own name, or declare it once.",
            )

    def _check_embeddings(self, derived: names.IndexNames) -> None:
        declared = [embedding.name for embedding in self.embeddings]
        for name in declared:
            derived.embedding_column(name)
            derived.hnsw_index(name)
            if declared.count(name) > 1:
                raise DeclarationError(
                    f"Search index {self.name!r} declares the embedding {name!r} twice.",
                    hint="Give each model version its own name, as in 'minilm_v1', 'bge_v1'.",
                )
        if self.active is not None and self.active not in declared:
            raise DeclarationError(
                f"Search index {self.name!r}: active={self.active!r} is not one of its "
                f"embeddings ({', '.join(declared) or 'it has none'}).",
                hint="Name one of them, or add an Embedding of that name.",
            )
        if any(each.retired and each.name == self.active for each in self.embeddings):
            raise DeclarationError(
                f"Search index {self.name!r}: active={self.active!r} is declared retired, and no "
                "search may ask for it.",
                hint="Name another one, or leave retired=True out.",
            )

    @property
    def source_table(self) -> Table:
        """The table; `table` is declared as wide as a mapped class's `__table__` is."""
        return cast("Table", self.table)

    def _column(self, name: str, what: str) -> Column[Any]:
        for column in self.source_table.columns:
            if column.name == name:
                return column
        raise DeclarationError(
            f"Search index {self.name!r}: table {self.source_table.name!r} has no column {name!r} "
            f"to use as {what}.",
            hint="It has " + ", ".join(repr(c.name) for c in self.source_table.columns) + ".",
        )

    def _text(self, name: str, text: str | Expression) -> TextColumn:
        """Return a text written out: what cannot be read as it is becomes an expression."""
        if isinstance(text, str):
            column = self._column(name, "text")
            type_, computed = _type_text(column), column.computed
            if computed is not None and computed.persisted is False:
                # A virtual column: triggers see NULL in it, whatever is read from it.
                text = Expression(str(computed.sqltext), weight=text)
            elif type_ in ("json", "jsonb") or type_.endswith("[]"):
                text = Expression(text_of(name, type_), weight=text)
            else:
                return TextColumn(name, text)
        for column_name in text.columns:
            self._column(column_name, f"part of the expression {name!r}")
        return text.text_column(name, [c.name for c in self.source_table.columns])

    def definition(self, default_schema: str = "public") -> IndexDefinition:
        """Return the declaration written out in full, with the types of its columns.

        Args:
            default_schema: The schema of a table that names none.
        """

        def typed(column: Column[Any]) -> TypedColumn:
            return TypedColumn(column.name, _type_text(column))

        return IndexDefinition(
            name=self.name,
            schema=self.source_table.schema or default_schema,
            table=self.source_table.name,
            key=tuple(typed(column) for column in self.source_table.primary_key.columns),
            text=tuple(self._text(name, text) for name, text in self.text.items()),
            language=self.language,
            language_column=self.language_column
            and self._column(self.language_column, "the language").name,
            filters=tuple(typed(self._column(name, "a filter")) for name in self.filters),
            chunking=self.chunking,
            stale=self.stale,
            bm25=self.bm25,
            notify=self.notify,
        )

    @property
    def active_embedding(self) -> Embedding | None:
        """The embedding that answers queries: the one named active, or the only one."""
        if self.active is None:
            live = [embedding for embedding in self.embeddings if not embedding.retired]
            return live[0] if len(live) == 1 else None
        return next(e for e in self.embeddings if e.name == self.active)


def _type_text(column: Column[Any]) -> str:
    """Return a column's type as PostgreSQL shows it: lower case but for quoted names."""
    from sqlalchemy.dialects import postgresql

    compiled = column.type.compile(postgresql.dialect())  # type: ignore[no-untyped-call]
    bare = re.sub(r' COLLATE "(?:[^"]|"")*"', "", compiled)
    return re.sub(r'("(?:[^"]|"")*")|([^"]+)', lambda part: part[1] or part[2].lower(), bare)


def declared_on(table: Table) -> dict[str, SearchIndex]:
    """Return the search indexes declared on a table, by name."""
    return dict(table.metadata.info.get(_INFO_KEY, {}).get(table.key, {}))
