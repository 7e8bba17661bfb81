"""Writers, workers and faults let loose on each other: a few seeds, and all that ever failed.

`python -m tests.faults --runs 200` does more of them. A seed that fails is added to
`failed_seeds.txt`. What a run does is drawn from its seed, but not when the machine does it: a
seed that failed may have to be run some times before it does so again.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.arena import Arena
from tests.faults.run import run
from tests.plugins.postgres import Databases

FEW = range(1, 9)
FAILED = [
    int(line.split()[0])
    for line in Path(__file__).with_name("failed_seeds.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]


@pytest.fixture(scope="module")
def arena(databases: Databases) -> Arena:
    return Arena(databases)


@pytest.mark.parametrize("seed", sorted({*FEW, *FAILED}))
def test_nothing_is_lost_nothing_is_stale_and_no_writer_notices(arena: Arena, seed: int) -> None:
    outcome = run(arena, seed)
    assert not outcome.problems, str(outcome)
