"""Which database, and how it is reached: URLs, connections and the demands on the server."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import conninfo
from psycopg.sql import SQL

from pgsearch import resources
from pgsearch.errors import ConnectionFailed, DatabaseError, ExtensionMissing

#: A psycopg connection that returns rows as plain tuples.
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

#: Iterative index scans, without which a filtered search loses rows, came with this version.
MINIMUM_PGVECTOR = (0, 8, 0)

#: UNIQUE NULLS NOT DISTINCT and security-invoker views came with this version.
MINIMUM_POSTGRESQL = 15

CONNECT_TIMEOUT = 10
"""Seconds to wait for a connection, unless the URL says otherwise."""

#: A connection whose other end is gone is noticed within a minute or so, and not after the two
#: hours that systems take by default: workers, and what listens for them, wait on theirs for long.
_KEEPALIVE: Final = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

_SCHEME = re.compile(r"(postgres|postgresql)(\+(psycopg|psycopg_async|psycopg2|asyncpg))?://")

_URL_HINT = (
    "Write postgresql://user:password@host:5432/database, special characters of the password "
    "percent-encoded (@ as %40, / as %2F)."
)

#: What libpq or the server says when a connection fails, and what to do about it.
_FAILURES = (
    (
        r"authentication failed|no password supplied|no pg_hba\.conf entry",
        "Check user and password, and that the server's pg_hba.conf lets them in from here.",
    ),
    (
        r'database ".*" does not exist',
        "Check the name after the last slash of the URL, or make it with createdb.",
    ),
    (r'role ".*" does not exist', "Check the user in the URL, or make it with createuser."),
    (
        r"not translate host name|failed to resolve host|service not known|No route|unreachable",
        "Check the host in the URL.",
    ),
    (
        r"Connection refused|No such file or directory",
        "Check host and port in the URL, and that the server is running.",
    ),
    (r"timeout expired|timed out", "Check host and port, and that no firewall is in the way."),
    (
        r"too many (clients|connections)|remaining connection slots",
        "Close other connections, or raise the server's max_connections.",
    ),
    (
        r"unsupported startup parameter",
        (
            "A pooler takes no settings: leave options out of the URL and PGOPTIONS out of the "
            "environment, or connect to the server itself."
        ),
    ),
    (r"SSL|certificate", "Check sslmode and sslrootcert in the URL."),
    (r"starting up|shutting down|recovery", "Wait until the server is up, and run it again."),
)


def database_url(url: str | None = None) -> str:
    """Return the libpq URI of the database to use.

    Args:
        url: A PostgreSQL URL, also with a SQLAlchemy driver as in `postgresql+asyncpg://`.
            If None, $DATABASE_URL; if that is not set, the embedded server's, which is
            started for it.

    Raises:
        DatabaseError: It is no PostgreSQL URL, or there is no embedded server.
    """
    named = url or os.environ.get("DATABASE_URL")
    if named:
        return _libpq(named)
    from pgsearch import embedded

    return embedded.start().uri


def sqlalchemy_url(url: str) -> str:
    """Return a PostgreSQL URL as SQLAlchemy takes it, with the driver psycopg 3.

    Raises:
        DatabaseError: It is no PostgreSQL URL.
    """
    return _libpq(url).replace("postgresql://", "postgresql+psycopg://", 1)


def describe(url: str) -> str:
    """Return what people need to know of a URL: database, host and user, never the password."""
    given = conninfo.conninfo_to_dict(_libpq(url))
    defaults = {
        option.keyword.decode(): option.val.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.val is not None
    }

    def value(name: str) -> str:
        return str(given.get(name) or defaults.get(name) or "")

    user, host, port = value("user"), value("host"), value("port")
    where = host if not host or host.startswith("/") else f"{host}:{port}"
    return (
        f"database {value('dbname') or user!r}"
        + (f" on {where}" if where else "")
        + (f" as {user}" if user else "")
    )


def connect(url: str, *, autocommit: bool = True, row_security: bool = False) -> Connection:
    """Connect to a database.

    Args:
        url: A PostgreSQL URL; see `database_url`.
        autocommit: Whether every statement is a transaction of its own.
        row_security: Whether row-level security may hide rows. If not, a query that it
            would cut short fails instead of reading a part of a table as if it were all. A pooler
            refuses that; with True, `transaction` sees to it in a way that works everywhere.

    Raises:
        ConnectionFailed: The database cannot be reached; the hint says what to check.
        DatabaseError: The URL is not one, or the server is older than PostgreSQL 15.
    """
    uri = _libpq(url)
    given = conninfo.conninfo_to_dict(uri)
    parameters: dict[str, str | int] = {
        name: value for name, value in _KEEPALIVE.items() if name not in given
    }
    if "application_name" not in given and "PGAPPNAME" not in os.environ:
        parameters["application_name"] = "pgsearch"
    if "connect_timeout" not in given and "PGCONNECT_TIMEOUT" not in os.environ:
        parameters["connect_timeout"] = CONNECT_TIMEOUT
    if not row_security:
        options = str(given.get("options") or os.environ.get("PGOPTIONS", ""))
        parameters["options"] = f"{options} -c row_security=off".strip()
    try:
        connection = psycopg.connect(
            conninfo.make_conninfo(uri, **parameters), autocommit=autocommit
        )
    except psycopg.OperationalError as error:
        raise _connection_failed(uri, error) from error
    try:
        check_server(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def check_server(connection: Connection) -> None:
    """Raise DatabaseError if the server is older than PostgreSQL 15."""
    major = connection.info.server_version // 10000
    if major < MINIMUM_POSTGRESQL:
        raise DatabaseError(
            f"The server is PostgreSQL {major}; pgsearch needs {MINIMUM_POSTGRESQL} or newer.",
            hint="Upgrade the server, or name another one in DATABASE_URL.",
        )


def check_extension(connection: Connection) -> None:
    """Raise ExtensionMissing unless pgvector is there, new enough and on the search path."""
    available, created, schema, visible = connection.execute(
        "SELECT (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'), "
        "extversion, extnamespace::regnamespace::text, to_regtype('vector') IS NOT NULL "
        "FROM (VALUES (1)) AS one LEFT JOIN pg_extension ON extname = 'vector'"
    ).fetchone() or (None, None, None, False)
    database = connection.info.dbname
    if created is None:
        if available is None:
            raise _not_available(connection)
        raise ExtensionMissing(
            f"The extension pgvector is not created in the database {database!r}.",
            hint="Run there, as its owner or a superuser: CREATE EXTENSION vector;",
        )
    if not is_recent(str(created)):
        raise _too_old(str(created), None if available is None else str(available), database)
    if not visible:
        raise ExtensionMissing(
            f"pgvector is in the schema {schema}, which is not on the search path of "
            f"{connection.info.user!r} in the database {database!r}.",
            hint=f"Add {schema} to search_path, or run: ALTER EXTENSION vector SET SCHEMA public;",
        )


@contextmanager
def transaction(
    connection: Connection, *, by_key: bool = False, pipelined: bool = False
) -> Iterator[None]:
    """Open a transaction with the settings that workers need.

    They are set for the transaction only, for a session may be a pooler's: everybody's in turn.

    Args:
        connection: A connection that is in no transaction.
        by_key: Whether its statements are about keys that they name, and read nothing else.
        pipelined: Whether statements are sent without waiting for what those before have given,
            unless it is fetched. What fails is then known at the end.
    """
    with ExitStack() as stack:
        pipeline = None
        if pipelined and psycopg.Pipeline.is_supported():
            pipeline = stack.enter_context(connection.pipeline())
        with connection.transaction():
            try:
                for name in ("session", "by_key") if by_key else ("session",):
                    connection.execute(SQL(resources.sql(f"sync/{name}.sql")))
                yield
                if pipeline is not None:
                    # What fails shall do so before the COMMIT. Not Pipeline.sync(), which waits for
                    # answers without having sent all of a long statement.
                    connection.execute("SELECT").fetchall()
            except psycopg.Error:
                if pipeline is not None and not connection.closed:
                    # Before all is answered nothing more is taken, and no ROLLBACK.
                    with suppress(psycopg.errors.PipelineAborted):
                        pipeline.sync()
                raise


def is_pooled(connection: Connection) -> bool:
    """Return whether a pooler stands between, so that a session may be somebody else's next.

    A pooler has numbers of its own for the sessions that it gives out.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row != (connection.info.backend_pid,)


def register_vectors(connection: Connection) -> None:
    """Let a connection send and receive pgvector's types.

    Raises:
        ExtensionMissing: pgvector is absent or too old.
    """
    from pgvector.psycopg import register_vector

    check_extension(connection)
    register_vector(connection)


def is_recent(version: str) -> bool:
    """Return whether a version of pgvector, as in "0.8.5", is one that pgsearch works with."""
    numbers = re.findall(r"\d+", version.partition("-")[0])
    return tuple(int(number) for number in numbers) >= MINIMUM_PGVECTOR


def _libpq(url: str) -> str:
    """Return a URL as libpq takes it; what is wrong is said without the URL's password."""
    url = url.strip()
    scheme = _SCHEME.match(url)
    if scheme is None:
        other = re.match(r"[A-Za-z][\w+.-]*://", url)
        begins = f"begins with {other[0]}, not" if other else "does not begin"
        raise DatabaseError(f"The database URL {begins} with postgresql://.", hint=_URL_HINT)
    uri = "postgresql://" + url[scheme.end() :]
    if scheme[3] == "asyncpg":
        uri = re.sub(r"([?&])ssl=", r"\1sslmode=", uri)
    try:
        conninfo.conninfo_to_dict(uri)
    except psycopg.ProgrammingError as error:
        # Other messages of libpq quote parts of the URL, the password perhaps among them.
        parameter = re.search(r'invalid URI query parameter: "[^"]*"', str(error))
        what = parameter[0] if parameter else "libpq cannot read it"
        raise DatabaseError(f"The database URL is not valid: {what}.", hint=_URL_HINT) from None
    return uri


def _connection_failed(uri: str, error: psycopg.OperationalError) -> ConnectionFailed:
    said = " ".join(str(error).split())
    said = re.sub(r"^connection failed: | Is the server running (on|locally).*$", "", said)
    hint = next((hint for pattern, hint in _FAILURES if re.search(pattern, said)), None)
    return ConnectionFailed(f"Cannot connect to {describe(uri)}: {said}", hint=hint)


def _not_available(connection: Connection) -> ExtensionMissing:
    major = connection.info.server_version // 10000
    return ExtensionMissing(
        f"The server (PostgreSQL {major}) does not have the extension pgvector.",
        hint=f"Install it there: the package postgresql-{major}-pgvector on Debian and Ubuntu "
        f"(from apt.postgresql.org), the image pgvector/pgvector:pg{major} with Docker; "
        'managed services let you enable the extension "vector".',
    )


def _too_old(created: str, available: str | None, database: str) -> ExtensionMissing:
    minimum = ".".join(str(number) for number in MINIMUM_PGVECTOR)
    if available is not None and is_recent(available):
        hint = f"The server has {available}; run there: ALTER EXTENSION vector UPDATE;"
    else:
        hint = "Upgrade pgvector on the server, then run: ALTER EXTENSION vector UPDATE;"
    return ExtensionMissing(
        f"pgvector in the database {database!r} is {created}; pgsearch needs {minimum} or newer.",
        hint=hint,
    )
