"""The registry: search indexes and embeddings as the database has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from pgsearch import resources
from pgsearch.database import Connection
from pgsearch.declare import Model
from pgsearch.definition import IndexDefinition
from pgsearch.errors import DatabaseError, NotInstalled, ObjectMissing
from pgsearch.precision import Precision
from pgsearch.schema.index import TEMPLATE_VERSION
from pgsearch.schema.install import VERSION

#: States in which workers keep an embedding up to date.
LIVE_STATES = ("filling", "indexing", "ready", "active")


@dataclass(frozen=True)
class RegisteredEmbedding:
    """One embedding as the registry has it.

    It is `filled` when all keys whose chunks lacked it have been put into the queue. While it is
    filling, documents with a generation of `adopt_generation` at most may take their
    vectors from the source table's column `adopt_column`.
    """

    id: int
    name: str
    column: str
    hnsw_index: str
    model: Model
    m: int
    ef_construction: int
    state: str
    fingerprint: list[list[float]] | None
    adopt_column: str | None = None
    adopt_generation: int | None = None
    filled: bool = True
    #: What a million tokens cost, where it is declared.
    token_price: float | None = None
    type: str = "vector"
    index: str = "vector"

    @property
    def is_live(self) -> bool:
        """Whether workers keep it up to date."""
        return self.state in LIVE_STATES

    @property
    def precision(self) -> Precision:
        """The type of its column and of its graph."""
        return Precision(self.model.dimensions, self.type, self.index)


@dataclass(frozen=True)
class RegisteredIndex:
    """One search index as the registry has it, with its embeddings in the order of adding.

    Args:
        id: The registry's number.
        definition: What was declared; the table may have another name by now.
        version: Another one after every change of the definition.
        table: The table as it is called now, as `regclass` writes it; None if what reads it is
            gone.
        template_version: Which templates made its functions.
        capturing: Whether its triggers are in place. Workers leave it alone until they are.
        filled: Whether every row that is not captured by a trigger has its document.
        refill: Whether the running fill does again what is there, after a change.
        is_partitioned: Whether its table is partitioned.
        blind: The role from which row-level security hides rows, if there is one: that of the
            connection, or the owner of the functions that read for it.
        embeddings: Its embeddings.
    """

    id: int
    definition: IndexDefinition
    version: str
    table: str | None
    template_version: int
    capturing: bool
    filled: bool
    refill: bool
    is_partitioned: bool
    blind: str | None
    embeddings: tuple[RegisteredEmbedding, ...]

    @property
    def name(self) -> str:
        """The name with its schema, as people write it."""
        schema = self.definition.schema
        return self.definition.name if schema == "public" else f"{schema}.{self.definition.name}"

    @property
    def live(self) -> tuple[RegisteredEmbedding, ...]:
        """The embeddings that workers keep up to date."""
        return tuple(embedding for embedding in self.embeddings if embedding.is_live)

    @property
    def active(self) -> RegisteredEmbedding | None:
        """The embedding that answers queries."""
        return next((e for e in self.embeddings if e.state == "active"), None)

    @property
    def problem(self) -> DatabaseError | None:
        """What keeps workers from working on it, as the error that says what to do."""
        if self.template_version < TEMPLATE_VERSION:
            return NotInstalled(
                f"Search index {self.name} was made by an older version of pgsearch (templates "
                f"{self.template_version}, this package works with {TEMPLATE_VERSION}).",
                hint="`alembic revision --autogenerate` writes the operation that brings it up to "
                "date.",
            )
        if not self.capturing:
            return DatabaseError(
                f"Search index {self.name} does not follow its table now: a migration has "
                "suspended it, or stopped in its middle.",
                hint="Run `alembic upgrade head`; op.alter_search_index() lets it follow again.",
            )
        if self.table is None:
            reader = f"{self.definition.schema}.{self.definition.names.read}"
            return ObjectMissing(
                f"Search index {self.name} cannot read its table: the function {reader} is gone, "
                "as after a DROP COLUMN … CASCADE.",
                hint="`pgsearch doctor` prints the operation that mends it.",
            )
        return self.hidden

    @property
    def hidden(self) -> DatabaseError | None:
        """The error that says from whom row-level security hides rows, if there is anybody."""
        if self.blind is None:
            return None
        return DatabaseError(
            f"Row-level security hides rows of table {self.table} from the role {self.blind!r}. "
            f"Who works on search index {self.name}, or counts what it holds, has to see all rows.",
            hint="Let it be the role that owns the table and its search index, or a member of it, "
            "or one with BYPASSRLS. Where the table has FORCE ROW LEVEL SECURITY, the owner needs "
            "BYPASSRLS, too.",
        )


def require_installed(connection: Connection) -> None:
    """Raise NotInstalled unless the schema `pgsearch` is there, in this package's version or newer.

    Versions only add, so a newer schema serves an older package.
    """
    row = connection.execute("SELECT to_regclass('pgsearch.installation') IS NOT NULL").fetchone()
    if row != (True,):
        raise NotInstalled(
            "The schema pgsearch is not installed in this database.",
            hint="Is it the database that you meant? Then run `alembic upgrade head` in a project "
            "whose migrations call op.pgsearch_install(); `pgsearch migrate` runs pgsearch's own.",
        )
    found = connection.execute("SELECT max(version) FROM pgsearch.installation").fetchone()
    version = found[0] if found else None
    if version is None or version < VERSION:
        raise NotInstalled(
            f"The schema pgsearch has version {version}, this package needs version {VERSION}.",
            hint=f"Add a migration with op.pgsearch_install(version={VERSION}); "
            "`alembic revision --autogenerate` writes it.",
        )


def read(connection: Connection, *wanted: str) -> tuple[RegisteredIndex, ...]:
    """Return the search indexes of a database.

    Args:
        connection: A connection.
        *wanted: Names, with or without schema; without any, all are returned.

    Raises:
        NotInstalled: The schema `pgsearch` is absent or of another version.
        ObjectMissing: A name is not that of exactly one search index.
    """
    require_installed(connection)
    embeddings: dict[int, list[RegisteredEmbedding]] = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(resources.sql("registry/embeddings.sql")):
            embeddings.setdefault(row["search_index_id"], []).append(_embedding(row))
        found = tuple(
            RegisteredIndex(
                definition=IndexDefinition.from_json(row.pop("definition")),
                embeddings=tuple(embeddings.get(row["id"], ())),
                **row,
            )
            for row in cursor.execute(resources.sql("registry/search_indexes.sql"))
        )
    return tuple(_named(found, name) for name in wanted) if wanted else found


def require_sight(connection: Connection, indexes: Iterable[RegisteredIndex]) -> None:
    """Raise DatabaseError if row-level security hides rows of search indexes from who asks."""
    row = connection.execute("SELECT current_user").fetchone()
    for index in indexes:
        if index.hidden is not None and row == (index.blind,):
            raise index.hidden


def _embedding(row: dict[str, Any]) -> RegisteredEmbedding:
    return RegisteredEmbedding(
        id=row["id"],
        name=row["name"],
        column=row["column_name"],
        hnsw_index=row["index_name"],
        model=Model.from_json(row["model"]),
        m=row["m"],
        ef_construction=row["ef_construction"],
        state=row["state"],
        fingerprint=row["fingerprint"],
        adopt_column=row["adopt_column"],
        adopt_generation=row["adopt_generation"],
        filled=row["filled"],
        token_price=row["token_price"],
        type=row["vector_type"],
        index=row["index_type"],
    )


def _named(indexes: tuple[RegisteredIndex, ...], name: str) -> RegisteredIndex:
    def names(index: RegisteredIndex) -> tuple[str, str]:
        definition = index.definition
        return definition.name, f"{definition.schema}.{definition.name}"

    matches = [index for index in indexes if name in names(index)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        schemas = ", ".join(names(index)[1] for index in matches)
        raise ObjectMissing(f"{name!r} names several search indexes.", hint=f"Write one: {schemas}")
    known = ", ".join(index.name for index in indexes)
    raise ObjectMissing(
        f"There is no search index {name!r} in this database.",
        hint=f"There is: {known}." if known else "Create one with op.create_search_index().",
    )
