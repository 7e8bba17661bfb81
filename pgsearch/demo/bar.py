"""The demo's progress bar: rows whose passages a worker embeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgsearch.cli import console
from pgsearch.sync import Progress

if TYPE_CHECKING:
    from pgsearch.demo.acts import Demo


@dataclass
class Seen:
    """What was seen of a worker: when it began to build an HNSW index, if it did."""

    build_started: float | None = None

    def build_s(self) -> float | None:
        """Return the seconds since the HNSW index was begun; None if it was there."""
        return None if self.build_started is None else time.perf_counter() - self.build_started


@contextmanager
def embedding(
    demo: Demo, rows: int, on_rows: Callable[[], object] = lambda: None
) -> Iterator[Seen]:
    """Show what the demo's worker does meanwhile.

    Args:
        demo: The demo.
        rows: How many rows there are to embed; without any, no bar is shown.
        on_rows: Called when some of them are embedded.
    """
    display = console.progress()
    display.disable = not rows
    seen = Seen()
    with display:
        bar = display.add_task("Embedding", total=rows)
        said: list[str] = []

        def say(line: str) -> None:
            if line not in said:
                display.console.print(line)
                said.append(line)

        def show(progress: Progress) -> None:
            if progress.step == "index":
                seen.build_started = time.perf_counter()
                say("Building the HNSW index")
            elif progress.step.startswith("encoder"):
                say("Learning words, for questions in text alone")
            elif progress.step == "embed":
                # A row may come twice: to be cut anew, and for the vector that it lacks.
                display.advance(bar, min(progress.done, rows - display.tasks[0].completed))
                on_rows()

        demo.on_progress = show
        try:
            yield seen
        finally:
            demo.on_progress = lambda _: None
