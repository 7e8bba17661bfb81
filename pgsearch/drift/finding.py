"""What drift is made of: a finding names an object, what is wrong with it, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pgsearch.declare import Embedding
from pgsearch.definition import IndexDefinition


class Mend(Enum):
    """What mends a finding."""

    INSTALL = "op.pgsearch_install"
    ALTER = "op.alter_search_index"
    REFILL = "op.alter_search_index with refill=True, for changes may have been missed"
    REINDEX = "op.reindex_embedding"
    REINDEX_KEYWORDS = "op.reindex_search_index"
    READD = "op.drop_embedding and op.add_embedding"
    RECREATE = "op.drop_search_index and op.create_search_index"
    REMOVE = "op.drop_search_index"
    EXECUTE = "op.execute"
    BY_HAND = "nothing that an operation could do"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as pgsearch would make it.

    Args:
        index: The search index, with the names that its table and columns have now; None if it is
            the schema `pgsearch` itself.
        object: What it is about, as in "trigger 00_article_search_update".
        problem: What is wrong with it, as in "is disabled".
        mend: What mends it.
        embedding: The embedding that it is about.
        statement: SQL that mends it, or that has to go before the operation.
        hint: What to do, where no operation can.
        embeddings: All embeddings of the search index, where some have to be made anew.
        active: Name of the one that answers queries, where some have to be made anew.
    """

    index: IndexDefinition | None
    object: str
    problem: str
    mend: Mend
    embedding: Embedding | None = None
    statement: str | None = None
    hint: str | None = None
    embeddings: tuple[Embedding, ...] = ()
    active: str | None = None

    def __str__(self) -> str:
        return f"{self.object} {self.problem}"
