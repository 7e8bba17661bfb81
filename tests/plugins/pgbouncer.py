"""PgBouncer in transaction mode before the server of the tests.

Two connections to the server for all clients of a database, so that sessions really are shared:
what one client leaves in its session, another one finds there. Its program is no part of any
package for Python; where it is not installed, tests that want it are skipped.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import conninfo

from pgsearch import embedded
from tests.plugins.worker import Stories

#: Connections to the server for each database.
SESSIONS = 2

#: The version that first knew prepared statements of clients.
PREPARES = (1, 21)

_CONFIGURATION = """
[databases]
* = host={server}

[pgbouncer]
unix_socket_dir = {folder}
listen_addr =
listen_port = 6432
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 50
query_wait_timeout = 30
{more}
"""


def program() -> str | None:
    """Return the path of PgBouncer; Debian has it in a folder that is not on everybody's PATH."""
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"]
    return shutil.which("pgbouncer", path=os.pathsep.join(folders))


def required_program() -> str:
    """Return the path of PgBouncer; skip the test where there is none."""
    path = program()
    if path is None:
        pytest.skip("PgBouncer is not installed (on Debian: apt-get install pgbouncer)")
    return path


@functools.cache
def version(path: str) -> tuple[int, ...]:
    """Return the version of a program, as in (1, 24, 1)."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    numbers = re.search(r"PgBouncer (\d+(?:\.\d+)+)", said)
    assert numbers is not None, said
    return tuple(map(int, numbers[1].split(".")))


@contextmanager
def pooler(server_url: str, **settings: str | int) -> Iterator[str]:
    """Run a pooler before a server; yield its URL of the server's own database.

    Args:
        server_url: A database of the server.
        **settings: More for its configuration.
    """
    path = required_program()
    server = conninfo.conninfo_to_dict(server_url)["host"]
    with tempfile.TemporaryDirectory(prefix="pgsearch-pooler-") as name:
        folder = Path(name)
        configuration = _CONFIGURATION.format(
            server=server,
            folder=folder,
            sessions=SESSIONS,
            more="\n".join(f"{name} = {value}" for name, value in settings.items()),
        )
        (folder / "pgbouncer.ini").write_text(configuration)
        (folder / "users.txt").write_text('"postgres" ""\n')
        account = _account(folder)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [path, folder / "pgbouncer.ini"], stdout=log, stderr=log, **account
            )
        url = urlsplit(server_url)._replace(query=f"host={quote(name, safe='/')}&port=6432")
        try:
            _wait(process, url.geturl(), folder / "log")
            yield url.geturl()
        finally:
            process.kill()
            process.wait()


def _account(folder: Path) -> dict[str, Any]:
    """Let the server's account own a folder, for PgBouncer does not run as root either."""
    if os.geteuid() != 0:
        return {}
    shutil.chown(folder, embedded.ACCOUNT, embedded.ACCOUNT)
    return {"user": embedded.ACCOUNT, "group": embedded.ACCOUNT, "extra_groups": []}


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(log.read_text()) from None
            time.sleep(0.02)
        else:
            return


@pytest.fixture(scope="session", params=[None, 0], ids=["unprepared", "prepared"])
def prepare_threshold(request: pytest.FixtureRequest) -> int | None:
    """After how often clients prepare a statement: never, where the pooler does not allow it."""
    threshold: int | None = request.param
    return threshold


@pytest.fixture(scope="session")
def pooler_url(server_url: str, prepare_threshold: int | None) -> Iterator[str]:
    """URL of a pooler before the server, without and with prepared statements of clients."""
    path = required_program()
    if prepare_threshold is not None and version(path) < PREPARES:
        pytest.skip(f"PgBouncer {'.'.join(map(str, version(path)))} knows no prepared statements")
    prepared = 0 if prepare_threshold is None else 200
    settings = {"max_prepared_statements": prepared} if version(path) >= PREPARES else {}
    with pooler(server_url, **settings) as url:
        yield url


@pytest.fixture
def pooled(stories: Stories, pooler_url: str) -> str:
    """URL of the database of `stories` through the pooler."""
    return urlsplit(pooler_url)._replace(path=urlsplit(stories.url).path).geturl()
