"""One run: the same writers with and without pgsearch, faults meanwhile, and then the truth."""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from random import Random

from tests.faults.arena import Arena
from tests.faults.plan import Plan, plan
from tests.faults.storm import ADDED, EMBEDDINGS, Storm, add_embedding, create_index
from tests.faults.truth import contents, settle, untruths
from tests.faults.watch import Watch
from tests.faults.workers import Notes
from tests.faults.writers import Written, write

#: How often writers are sent into a database without pgsearch to see whether they fail there too.
_CONTROLS = 5

#: A run in which writers take longer is stuck.
_PATIENCE_S = 60.0


@dataclass
class Outcome:
    """What came of a run: what should not be, and what happened."""

    plan: Plan
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    control_errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    control_slowest_ms: float = 0.0
    seconds: float = 0.0
    log: str = ""

    def __str__(self) -> str:
        shown = self.problems[:12]
        if len(self.problems) > len(shown):
            shown.append(f"… and {len(self.problems) - len(shown)} more")
        return "\n".join([f"{self.plan}:", *(f"  {line}" for line in shown)])


@cache
def processes() -> ForkServerContext:
    """Return what starts processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "tests.faults.workers"])
    return context


def run(arena: Arena, seed: int) -> Outcome:
    """Do the run of a seed; an error of its own is among the problems."""
    outcome = Outcome(plan(seed))
    started = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="pgsearch-faults-") as folder:
            _Run(arena, outcome, Path(folder)).do()
    except Exception:
        outcome.problems.append(traceback.format_exc())
    outcome.seconds = time.perf_counter() - started
    return outcome


class _Run:
    def __init__(self, arena: Arena, outcome: Outcome, folder: Path) -> None:
        self._arena = arena
        self._plan = outcome.plan
        self._outcome = outcome
        self._folder = folder
        self._chance = Random(-1 - outcome.plan.seed)

    def do(self) -> None:
        plan = self._plan
        control = self._arena.control(plan)
        with self._arena.database(plan) as url, ThreadPoolExecutor(1) as threads:
            alone = threads.submit(write, control, plan.scripts)
            written = self._disturbed(url)
            without = alone.result()
            settle(url)
            embeddings = EMBEDDINGS | (ADDED if plan.added_meanwhile else {})
            self._outcome.problems += untruths(url, embeddings)
            if plan.has_one_end and not written.met and contents(url) != contents(control):
                self._outcome.problems.append("the table has other rows than without pgsearch")
            self._judge(written, without)
        if self._outcome.problems and (self._folder / "log").exists():
            self._outcome.log = (self._folder / "log").read_text()

    def _disturbed(self, url: str) -> Written:
        """Let writers and workers work, with all that happens to these meanwhile."""
        with ThreadPoolExecutor(1) as threads:
            writing = threads.submit(write, url, self._plan.scripts)
            if self._plan.created_meanwhile:
                time.sleep(self._chance.uniform(0, 0.2))
                create_index(url)
            with self._storm(url):
                if self._plan.added_meanwhile:
                    time.sleep(self._chance.uniform(0, 0.4))
                    add_embedding(url)
                return writing.result(timeout=_PATIENCE_S)

    @contextmanager
    def _storm(self, url: str) -> Iterator[None]:
        storm = Storm(url, Random(self._chance.random()), self._folder, processes())
        watch = Watch(url, Random(self._chance.random()), EMBEDDINGS)
        over = threading.Event()
        with ThreadPoolExecutor(2) as threads:
            at_work = [threads.submit(storm.rage, over), threads.submit(watch.look_until, over)]
            try:
                yield
            finally:
                over.set()
        for each in at_work:
            each.result()
        self._outcome.problems += watch.found
        self._outcome.counts.update(
            {
                "workers": storm.workers,
                "killed": storm.notes.count(Notes.KILLED),
                "stopped for a while": storm.stalls,
                "connections terminated": storm.terminated,
                "connections cut": storm.notes.count(Notes.CUT),
                "workers without a connection": storm.notes.count(Notes.LOST),
                "calls of the model": storm.notes.count(Notes.CALLED),
                "failures of the model": storm.notes.count(Notes.FAILED),
                "slow calls of the model": storm.notes.count(Notes.SLOW),
                "poisoned calls": storm.notes.count(Notes.REFUSED),
                "retries": storm.retries,
                "looks meanwhile": watch.looks,
                "keys up to date meanwhile": watch.settled,
            }
        )
        for died in sorted(self._folder.glob("worker-*.txt")):
            self._outcome.problems.append(f"a worker ended: {died.read_text()}")

    def _judge(self, written: Written, without: Written) -> None:
        """Compare what writers met with what they meet without pgsearch."""
        outcome, plan = self._outcome, self._plan
        outcome.counts["transactions"] = written.transactions
        outcome.errors.update(met.kind for met in written.met)
        outcome.slowest_ms, outcome.control_slowest_ms = written.slowest_ms, without.slowest_ms
        allowed = {met.kind for met in without.met}
        outcome.control_errors.update(met.kind for met in without.met)
        if plan.is_free_of_conflicts:
            outcome.problems += [f"without pgsearch, {met}" for met in without.met]
            outcome.problems += map(str, written.met)
            return
        for _ in range(_CONTROLS):
            if {met.kind for met in written.met} <= allowed:
                break
            # It may have been luck: the same once more.
            again = write(self._arena.control(plan), plan.scripts)
            allowed |= {met.kind for met in again.met}
            outcome.control_errors.update(met.kind for met in again.met)
        outcome.problems += [str(met) for met in written.met if met.kind not in allowed]
