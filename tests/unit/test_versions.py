"""The versions that are promised in pyproject.toml are the versions that are tested."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    bounds = [*project["dependencies"], *extras["binary"], *extras["embedded"], *extras["dev"]]
    promised = {}
    for line in bounds:
        if found := re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", line):
            promised[found[1].lower()] = found[2]
    ours, _ = (ROOT / "constraints-oldest.txt").read_text().split("\n\n")
    pins = re.findall(r"^([\w-]+)==([\d.]+)$", ours, re.MULTILINE)
    tested = {name.lower(): version for name, version in pins}
    tested.pop("psycopg-binary")  # which has the version of psycopg
    needed = {re.split(r"\W", line)[0].lower() for line in project["dependencies"]}
    assert needed <= tested.keys()
    for name, version in tested.items():
        assert f"{version}.0.0".startswith(f"{promised[name]}."), name
