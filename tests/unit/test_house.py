"""The rules of the house that a linter does not know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgsearch.cli import VERBS

ROOT = Path(__file__).parents[2]
MODULES = [
    path
    for folder in ("pgsearch", "bench", "migrations", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTATION = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_at_most_500_lines(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= 500


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb: str) -> None:
    assert f"pgsearch {verb}" in DOCUMENTATION


@pytest.mark.parametrize(
    "operation",
    re.findall(
        r'register_operation\("(\w+)"\)',
        (ROOT / "pgsearch/alembic/operations.py").read_text(encoding="utf-8"),
    ),
)
def test_every_operation_is_documented(operation: str) -> None:
    assert f"op.{operation}" in DOCUMENTATION


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
