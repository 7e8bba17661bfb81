"""all-MiniLM-L6-v2 as its own library runs it, in a process that does nothing else.

It says "ready" when the model is loaded. Then it takes lines of JSON, lists of texts, gives each to
one call of `SentenceTransformer.encode`, and answers with the seconds that it took.
"""

from __future__ import annotations

import json
import sys
import time

from pgsearch.canonical import MINILM
from pgsearch.models import packaged


def _main() -> None:
    from sentence_transformers import SentenceTransformer

    folder = packaged.find(MINILM.name, MINILM.revision)
    if folder is not None:
        transformer = SentenceTransformer(str(folder))
    else:
        transformer = SentenceTransformer(MINILM.name, revision=MINILM.revision)
    print("ready", flush=True)
    for line in sys.stdin:
        contents = json.loads(line)
        started = time.perf_counter()
        transformer.encode(contents, show_progress_bar=False)
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    _main()
