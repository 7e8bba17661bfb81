"""The PostgreSQL that a bench runs on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgsearch import embedded

_VARIABLE = "DATABASE_URL"


@contextmanager
def server(version: int) -> Iterator[None]:
    """Let DATABASE_URL name a server: the one that it names already, or a new embedded one.

    Args:
        version: Major version of the embedded server, which is removed in the end.
    """
    if os.environ.get(_VARIABLE):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="pgsearch-bench-") as folder:
        started = embedded.start(Path(folder), version)
        os.environ[_VARIABLE] = started.uri
        try:
            yield
        finally:
            del os.environ[_VARIABLE]
            embedded.stop(Path(folder), version)
