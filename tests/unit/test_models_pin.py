"""Pinning a model that was only named."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pgsearch import Model
from pgsearch.errors import ModelUnavailable
from pgsearch.models import packaged
from pgsearch.models.pin import pinned
from tests.unit.test_models import TINY_DIMENSIONS, bare, run_python, tiny, weights

__all__ = ["bare", "tiny", "weights"]

NEWEST, TAGGED = "a" * 40, "b" * 40


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of a hub that knows the commits of one model, and nothing else."""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            commit = {
                "/api/models/someone/tiny": NEWEST,
                "/api/models/someone/tiny/revision/v2": TAGGED,
            }.get(self.path)
            body = json.dumps({"id": "someone/tiny", "sha": commit}).encode()
            self.send_response(200 if commit else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def asked(*calls: str, **environment: str) -> list[str]:
    """Return what calls give, a line each, in a process of their own."""
    run = run_python(
        "from pgsearch.errors import ModelUnavailable\n"
        "from pgsearch.models.pin import pinned\n"
        f"for call in {calls!r}:\n"
        "    try:\n"
        "        print(eval(call))\n"
        "    except ModelUnavailable as error:\n"
        "        print(error.message)\n",
        **environment,
    )
    assert run.stderr == ""
    return run.stdout.splitlines()


def test_the_hub_says_what_the_commit_is(hub: str, tmp_path: Path) -> None:
    found = asked(
        "pinned('someone/tiny', dimensions=48)",
        "pinned('someone/tiny', dimensions=48, revision='v2')",
        f"pinned('someone/tiny', dimensions=48, revision={NEWEST!r}, query_prompt='q: ')",
        "pinned('someone/else', dimensions=48)",
        HF_ENDPOINT=hub,
        HF_HOME=str(tmp_path),
    )
    assert found[:3] == [
        f"Model('someone/tiny', dimensions=48, revision={NEWEST!r})",
        f"Model('someone/tiny', dimensions=48, revision={TAGGED!r})",
        f"Model('someone/tiny', dimensions=48, revision={NEWEST!r}, query_prompt='q: ')",
    ]
    assert "commit of model 'someone/else' could not be asked" in found[3]


def test_without_the_hub_its_cache_says_it(tiny: Path, tmp_path: Path) -> None:
    cached = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(tiny, cached / "snapshots" / NEWEST)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(NEWEST)
    found = asked(
        "pinned('someone/tiny')",
        "pinned('someone/tiny', revision='v2')",
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HOME=str(tmp_path),
    )
    # The length of its vectors was asked of the model itself.
    assert found[0] == f"Model('someone/tiny', dimensions={TINY_DIMENSIONS}, revision={NEWEST!r})"
    assert "could not be asked of the Hugging Face hub" in found[1]


def test_a_folder_and_a_package_need_no_hub(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert pinned(str(tiny)) == Model(str(tiny), dimensions=TINY_DIMENSIONS)
    assert pinned(packaged.MINILM) == Model(
        packaged.MINILM, dimensions=384, revision=packaged.MINILM_REVISION
    )


def test_a_provider_that_does_not_exist() -> None:
    with pytest.raises(ModelUnavailable):
        pinned("x", provider="nobody's")
