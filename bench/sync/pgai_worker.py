"""A worker of pgai, in pgai's own environment: it knows nothing of pgsearch.

    python pgai_worker.py

It says "ready" when everything is imported that pgai imports as it goes. Then it takes lines of
JSON: {"install": URL} puts pgai's catalogue into a database; {"work": URL, "vectorizer": ID,
"concurrency": N} works until the queue is empty, as `pgai vectorizer worker --once` does. Each is
answered with the seconds that it took, and those of them that this process has computed.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from typing import Any

#: What pgai imports when it first needs it: seconds that are not to count.
_LATE = ("numpy", "openai.resources.embeddings", "tiktoken", "pgai.vectorizer")


def _do(task: dict[str, Any]) -> None:
    pgai = import_module("pgai")
    if "install" in task:
        pgai.install(task["install"])
        return
    import_module("pgai.cli").vectorizer_worker.main(
        [
            "--once",
            "--log-level=ERROR",
            f"--db-url={task['work']}",
            f"--vectorizer-id={task['vectorizer']}",
            f"--concurrency={task['concurrency']}",
        ],
        standalone_mode=False,
    )


def _main() -> None:
    # Its log goes to standard output, which is for answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for module in ("pgai", "pgai.cli", *_LATE):
        import_module(module)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        started, computed = time.perf_counter(), time.process_time()
        _do(json.loads(line))
        took = time.perf_counter() - started, time.process_time() - computed
        print(*took, file=answers, flush=True)


if __name__ == "__main__":
    _main()
