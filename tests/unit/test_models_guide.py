"""docs/models.md, done as it is written: its models declared, its provider installed and used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pgsearch import Model
from pgsearch.models import packaged
from pgsearch.models.machine import Machine

GUIDE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [code for kind, code in BLOCKS if kind == language]


def test_its_models_can_be_declared() -> None:
    namespace: dict[str, object] = {}
    for code in blocks("python"):
        if "EmbedderContract" not in code:
            exec(code, namespace)
    models = {name: value for name, value in namespace.items() if isinstance(value, Model)}
    assert models.keys() == {
        "minilm", "e5", "nomic", "openai_small", "tei", "mistral", "letters",
    }  # fmt: skip
    assert models["minilm"].revision == packaged.MINILM_REVISION
    assert Model.from_json(models["tei"].to_json()) == models["tei"]


def test_its_provider_is_loaded_by_its_entry_point_and_passes_the_contract(tmp_path: Path) -> None:
    (provider,) = (code for code in blocks("python") if "class LetterEmbedder" in code)
    (contract,) = (code for code in blocks("python") if "EmbedderContract" in code)
    (project,) = blocks("toml")
    (tmp_path / "letters.py").write_text(provider)
    (tmp_path / "test_letters.py").write_text(f"from letters import LetterEmbedder\n{contract}")
    info = tmp_path / "letters-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: letters\nVersion: 1.0\n")
    group, entry = re.findall(r'^\[project\.entry-points\."(.*)"\]\n(.*)$', project, re.MULTILINE)[
        0
    ]
    (info / "entry_points.txt").write_text(f"[{group}]\n{entry.replace(chr(34), '')}\n")
    script = (
        "import sys, pytest\n"
        "from pgsearch import Model\n"
        "from pgsearch.models import load\n"
        "embedder = load(Model('letters-v1', provider='letters', dimensions=64))\n"
        "assert embedder.dimensions == 64\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '.']))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("PGSEARCH_PROCESSES", "processes"),
        ("PGSEARCH_REQUESTS", "requests"),
        ("PGSEARCH_REQUEST_TEXTS", "request_texts"),
        ("PGSEARCH_REQUEST_TIMEOUT", "timeout_s"),
    ],
)
def test_its_settings_and_defaults_are_the_real_ones(variable: str, field: str) -> None:
    (row,) = re.findall(rf"^\| `{variable}` \|.*\| (.*) \|$", GUIDE, re.MULTILINE)
    if field != "processes":
        assert row == str(getattr(Machine(), field))
    assert getattr(Machine.from_environment({variable: "7"}), field) == 7
