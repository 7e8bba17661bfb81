"""docker-compose.yml: it is valid, and what its services run does what they are for."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ruamel.yaml import YAML

from pgsearch.canonical import document_search

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"


@pytest.fixture
def services() -> dict[str, Any]:
    """The services of the file, anchors resolved."""
    found: dict[str, Any] = YAML(typ="safe").load(COMPOSE)["services"]
    return found


def program(service: dict[str, Any]) -> list[str]:
    """Return a service's command with the program's path in this environment."""
    name, *arguments = service["command"]
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    assert path is not None, f"{name} is not installed"
    return [path, *arguments]


def environment(url: str) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": url}


def run(service: dict[str, Any], url: str) -> subprocess.CompletedProcess[str]:
    """Run a service's command until it ends."""
    return subprocess.run(
        program(service), env=environment(url), capture_output=True, text=True, timeout=120
    )


@contextmanager
def running(service: dict[str, Any], url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a service's command beside the test; kill it if the test leaves it running."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            program(service), env=environment(url), stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_it_follows_the_compose_specification() -> None:
    command = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    checked = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_database_is_pinned_and_says_when_it_is_ready(services: dict[str, Any]) -> None:
    db = services["db"]
    assert re.fullmatch(r"pgvector/pgvector:\d+\.\d+\.\d+-pg\d+", db["image"])
    assert "pg_isready" in db["healthcheck"]["test"]
    # The image of PostgreSQL 18 refuses a volume at the place that older ones had.
    assert [volume.split(":")[1] for volume in db["volumes"]] == ["/var/lib/postgresql"]
    assert all(port.startswith("127.0.0.1:") for port in db["ports"])


def test_services_start_in_order(services: dict[str, Any]) -> None:
    assert services["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert services["worker"]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"}
    }
    assert services["migrate"]["restart"] == "no"
    assert services["worker"]["restart"] == "unless-stopped"
    assert services["worker"]["stop_grace_period"]


def test_all_services_name_the_same_database(services: dict[str, Any]) -> None:
    db = services["db"]["environment"]
    url = f"postgresql://{db['POSTGRES_USER']}@db:5432/{db['POSTGRES_DB']}"
    for name in ("migrate", "worker"):
        assert services[name]["environment"]["DATABASE_URL"] == url
        assert services[name]["environment"]["PGPASSWORD"] == db["POSTGRES_PASSWORD"]


def test_their_image_is_built_for_an_account_without_rights() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.\d+-slim", dockerfile, re.MULTILINE)
    assert re.search(r"^USER (?!root)", dockerfile, re.MULTILINE)
    copied = re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert {"constraints.txt", "migrations", "pgsearch", "pyproject.toml", "sql"} <= sources
    assert all((ROOT / source).exists() for source in sources)


def test_their_image_has_all_providers_of_models() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    extras = re.search(r"pip install .*\"\.\[([\w,]+)\]\"", dockerfile, re.DOTALL)
    assert extras is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # The others bring a server along, a demo, what developers need, or retrievers for applications.
    others = {"embedded", "demo", "dev", "langchain", "llamaindex"}
    assert set(extras[1].split(",")) == project["optional-dependencies"].keys() - others


def test_the_services_do_their_work(
    services: dict[str, Any], empty_database: str, tmp_path: Path
) -> None:
    """migrate, and again; then the worker embeds a row, and ends on SIGTERM."""
    assert run(services["migrate"], empty_database).returncode == 0
    again = run(services["migrate"], empty_database)
    assert again.returncode == 0
    assert again.stdout.startswith("Nothing to apply")

    log = tmp_path / "log"
    with (
        running(services["worker"], empty_database, log) as worker,
        psycopg.connect(empty_database, autocommit=True) as connection,
    ):
        connection.execute(
            "INSERT INTO document (title, body) VALUES (%s, %s)",
            ["Passwords", "How a forgotten password is reset."],
        )
        embedding = document_search.embeddings[0].name
        count = f"SELECT count(embedding_{embedding}) FROM document_search_chunk"
        until = time.monotonic() + 120
        while connection.execute(count).fetchone() == (0,):
            assert worker.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=10) == 0, log.read_text()
        assert connection.execute("SELECT count(*) FROM document_search_queue").fetchone() == (0,)
