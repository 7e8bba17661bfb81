"""The PostgreSQL that a bench runs on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg.sql import SQL, Literal

from pgsearch import database, embedded

_VARIABLE = "DATABASE_URL"


@contextmanager
def server(version: int, *, shared_buffers: str | None = None) -> Iterator[None]:
    """Let DATABASE_URL name a server: the one that it names already, or a new embedded one.

    Args:
        version: Major version of the embedded server, which is removed in the end.
        shared_buffers: How much memory the embedded server keeps pages in, where it is more than
            it has by itself.
    """
    if os.environ.get(_VARIABLE):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="pgsearch-bench-") as folder:
        started = embedded.start(Path(folder), version)
        if shared_buffers is not None:
            with database.connect(started.uri) as connection:
                setting = SQL("ALTER SYSTEM SET shared_buffers = {}")
                connection.execute(setting.format(Literal(shared_buffers)))
            embedded.stop(Path(folder), version)
            started = embedded.start(Path(folder), version)
        os.environ[_VARIABLE] = started.uri
        try:
            yield
        finally:
            del os.environ[_VARIABLE]
            embedded.stop(Path(folder), version)
