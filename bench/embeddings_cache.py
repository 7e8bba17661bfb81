"""A model that remembers: vectors kept on disk, so that a bench's second run takes seconds.

The cache is told apart by the declared model and the text. A local folder whose
weights change under the same path is not noticed: delete the cache then.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pgvector import Vector

from pgsearch.declare import Model
from pgsearch.models.protocol import Embedder

_FILE = "vectors.sqlite"

#: Keys per SELECT; SQLite takes at least 999 parameters.
_BATCH = 500

_Kind = Literal["document", "query"]


class CachedEmbedder:
    """An Embedder around another one, which asks it only for what it has not seen.

    Args:
        embedder: The model.
        model: Its declaration: name, revision, prompts and the rest are part of the key.
        folder: Where the vectors are kept; it is made if it does not exist. Several
            models and several processes may share it.
    """

    def __init__(self, embedder: Embedder, model: Model, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._embedder = embedder
        self._model = json.dumps(model.to_json(), sort_keys=True)
        # A worker may embed in another thread than the one that made this.
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            folder / _FILE, timeout=60, isolation_level=None, check_same_thread=False
        )
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS vector (key BLOB PRIMARY KEY, value BLOB NOT NULL) "
            "WITHOUT ROWID"
        )
        self.embedded = 0
        """How many texts the model itself was asked for."""

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        return self._embedder.dimensions

    @property
    def max_tokens(self) -> int:
        """The model's window, in tokens."""
        return self._embedder.max_tokens

    def count_tokens(self, text: str) -> int:
        """Return how many tokens of the window a text takes, special tokens not counted."""
        return self._embedder.count_tokens(text)

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of passages, from the cache where it has them."""
        return self._embed("document", texts, self._embedder.embed_documents)

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of queries, from the cache where it has them."""
        return self._embed("query", texts, self._embedder.embed_queries)

    def close(self) -> None:
        """Close the cache's file; the embedder is not to be used after that."""
        self._database.close()

    def _embed(
        self, kind: _Kind, texts: Sequence[str], embed: Callable[[Sequence[str]], list[Vector]]
    ) -> list[Vector]:
        keys = [self._key(kind, text) for text in texts]
        with self._lock:
            known = self._read(set(keys))
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
            if missing:
                vectors = embed(list(missing.values()))
                new = dict(zip(missing, vectors, strict=True))
                self._write(new)
                self.embedded += len(new)
                known |= new
        return [known[key] for key in keys]

    def _key(self, kind: _Kind, text: str) -> bytes:
        """Return the SHA-256 of all that a vector depends on."""
        parts = json.dumps([self._model, kind, text])
        return hashlib.sha256(parts.encode()).digest()

    def _read(self, keys: set[bytes]) -> dict[bytes, Vector]:
        wanted = list(keys)
        found: dict[bytes, Vector] = {}
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            marks = ",".join("?" * len(batch))
            rows = self._database.execute(
                f"SELECT key, value FROM vector WHERE key IN ({marks})", batch
            )
            found |= {key: Vector.from_binary(value) for key, value in rows}
        return found

    def _write(self, vectors: dict[bytes, Vector]) -> None:
        rows = [(key, vector.to_binary()) for key, vector in vectors.items()]
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany("INSERT OR REPLACE INTO vector VALUES (?, ?)", rows)
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
