"""Every error that pgsearch raises on purpose, in one tree.

    Error
    ├── DeclarationError        a SearchIndex, Model or Chunking that cannot work
    ├── DatabaseError           the database is not as pgsearch needs it
    │   ├── ConnectionFailed    it cannot be reached
    │   ├── ExtensionMissing    pgvector is absent or too old
    │   ├── NotInstalled        the schema `pgsearch` is absent or of another version
    │   └── ObjectMissing       a table, column, search index or embedding is absent
    ├── ModelError              a model cannot be used
    │   ├── ModelUnavailable    it cannot be loaded or reached
    │   ├── ModelMismatch       it is not the model that was registered
    │   └── EmbeddingFailed     it failed on a text
    │       └── Throttled       its provider asks to wait
    ├── LifecycleError          an embedding is not in the state that a step needs
    ├── LibraryMissing          an extra of pgsearch is not installed
    └── QueryError              a query that cannot be answered

A message says what happened, to which object; `hint` says what to do next.
"""

from __future__ import annotations


class Error(Exception):
    """The root: `except pgsearch.Error` catches everything that pgsearch raises on purpose.

    Args:
        message: What happened, to which object.
        hint: What to do next; shown on a line of its own by the command line.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class DeclarationError(Error, ValueError):
    """A declaration that cannot work; the hint says what to write instead."""


class DatabaseError(Error):
    """The database is not as pgsearch needs it."""


class ConnectionFailed(DatabaseError):
    """The database cannot be reached."""


class ExtensionMissing(DatabaseError):
    """The extension pgvector is absent, or older than pgsearch needs."""


class NotInstalled(DatabaseError):
    """The schema `pgsearch` is absent, or of another version than this package."""


class ObjectMissing(DatabaseError):
    """A table, column, search index or embedding that was named does not exist."""


class ModelError(Error):
    """A model cannot be used."""


class ModelUnavailable(ModelError):
    """A model cannot be loaded, or its provider cannot be reached or does not serve it."""


class ModelMismatch(ModelError):
    """A model is not the one that was registered; nothing was written."""


class EmbeddingFailed(ModelError):
    """A model failed on a text."""


class Throttled(EmbeddingFailed):
    """A model's provider asks to wait; nothing is wrong with the texts.

    Args:
        message: What happened, to which model.
        hint: What to do next.
        retry_after: Seconds that the provider asks to wait; None if it names no time.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class LifecycleError(Error):
    """An embedding is not in the state that a step needs."""


class LibraryMissing(Error, ImportError):
    """A library that only an extra of pgsearch brings is not installed."""


class QueryError(Error, ValueError):
    """A query that cannot be answered."""
