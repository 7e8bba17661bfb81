"""docs/asking.md: its retrievers, made and asked as they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.plugins.orm import Article

GUIDE = (Path(__file__).parents[2] / "docs" / "asking.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("module", "result"), [("langchain", "documents"), ("llamaindex", "nodes")]
)
def test_its_retrievers_answer(engine: Engine, module: str, result: str) -> None:
    (code,) = (block for block in BLOCKS if f"pgsearch.{module}" in block)
    # The tenant of the guide has no articles here.
    namespace: dict[str, Any] = {"Article": Article, "engine": engine}
    exec(code.replace("tenant_id == 7", "tenant_id == 2"), namespace)
    found = namespace[result]
    assert len(found) == 5
    assert all(list(each.metadata)[:2] == ["id", "title"] for each in found)
