"""A worker of pgsearch as a process that is told when to begin; the counterpart of `pgai_worker`.

It says "ready" when everything is imported. Then it takes lines of JSON, and answers each with the
seconds that it took, and those of them that this process has computed:

- {"work": URL, "rows": N} embeds that many documents. The HNSW index, which it would build then,
  it does not.
- {"drain": URL} does all that there is to do.
- {"embed": TEXTS} embeds texts with all-MiniLM-L6-v2, and so loads it.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from typing import Any

from pgsearch import models
from pgsearch.canonical import MINILM
from pgsearch.sync import Progress, Worker

#: What is imported when it is first needed: seconds that are not to count.
_LATE = ("httpx", "pgsearch.models.openai", "semchunk")


def work(url: str, rows: int) -> None:
    """Embed so many documents, or all that wait if there are fewer."""
    done = 0

    def count(progress: Progress) -> None:
        nonlocal done
        if progress.step == "embed":
            done += progress.done
            if done >= rows:
                worker.stop()

    worker = Worker(url, distill=False, on_progress=count)
    worker.drain()


def _do(task: dict[str, Any]) -> None:
    if "work" in task:
        work(task["work"], task["rows"])
    elif "drain" in task:
        Worker(task["drain"], distill=False).drain()
    else:
        models.load(MINILM).embed_documents(task["embed"])


def _main() -> None:
    for module in _LATE:
        import_module(module)
    print("ready", flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        started, computed = time.perf_counter(), time.process_time()
        _do(task)
        print(time.perf_counter() - started, time.process_time() - computed, flush=True)


if __name__ == "__main__":
    _main()
