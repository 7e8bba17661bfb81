"""Every database name, derived in one place from the name of a search index.

PostgreSQL cuts identifiers at 63 bytes without an error, which would let two
objects collide; `check` refuses such names when they are declared.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from pgsearch.errors import DeclarationError

MAX_BYTES = 63

#: Columns that companion tables, results and searches use; a key column must not be called so.
RESERVED_COLUMNS = frozenset(
    {
        "attempts", "bound", "claimed_by", "content", "content_hash", "distance", "document_score",
        "encoder", "enqueued_at", "failed_at", "generation", "keyword_rank", "keyword_score",
        "last_error", "lease", "leased_until", "length", "lost", "not_before", "ordinal", "passage",
        "passage_rank", "queue_id", "rewrite", "score", "similarity", "stale", "texts", "truncated",
        "tsconfig", "tsv", "vector_rank",
    }
)  # fmt: skip

#: Parameters of the search functions, and PL/pgSQL's `found`; a filter must not be called so.
RESERVED_PARAMETERS = frozenset(
    {
        "ef_search", "embedding", "found", "fusion", "k", "keyword_weight", "mode", "per_document",
        "query", "query_language", "skip", "vector",
    }
)  # fmt: skip

#: What a name cannot bring into a function's body or a driver's query, however it is quoted.
_UNUSABLE = re.compile(r"[\x01-\x1f\x7f%\ud800-\udfff]|\$\w*\$")

_EMBEDDING_NAME = re.compile(r"[a-z][a-z0-9_]*")


def check(name: str, what: str) -> str:
    """Return `name` if PostgreSQL can hold it unchanged, else raise DeclarationError."""
    if not name:
        raise DeclarationError(f"The {what} has an empty name.", hint="Give it a name.")
    if "\x00" in name:
        raise DeclarationError(f"The {what} {name!r} holds a NUL character.", hint="Remove it.")
    if unusable := _UNUSABLE.search(name):
        raise DeclarationError(
            f"The {what} {name!r} holds {unusable[0]!r}, which cannot be written into functions "
            "and queries.",
            hint="Rename it: all but control characters, halves of surrogate pairs, % and two $ "
            "around a word may be in it.",
        )
    size = len(name.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise DeclarationError(
            f"The {what} {name!r} is {size} bytes long; PostgreSQL keeps {MAX_BYTES}.",
            hint=f"Shorten it by {size - MAX_BYTES} bytes or more.",
        )
    return name


def check_embedding_name(name: str) -> str:
    """Return `name` if it can name an embedding: a lower-case word, as in `minilm_v1`."""
    if not _EMBEDDING_NAME.fullmatch(name):
        raise DeclarationError(
            f"The embedding name {name!r} is not a lower-case word.",
            hint="Use letters, digits and underscores, a letter first, as in 'minilm_v1'.",
        )
    return name


def embedding_name(model: str) -> str:
    """Return what the embedding of a model is called unless it is said: `bge_small_en_v1_5`."""
    last = model.rstrip("/").rpartition("/")[2]
    word = re.sub("[^a-z0-9]+", "_", last.lower()).strip("_")
    return word if word[:1].isalpha() else f"model_{word}"


@dataclass(frozen=True)
class IndexNames:
    """The database objects of one search index; all lie in the source table's schema."""

    index: str

    @property
    def document(self) -> str:
        """Table: one row per source row, with its tsvector."""
        return f"{self.index}_document"

    @property
    def chunk(self) -> str:
        """Table: the passages and their embedding columns."""
        return f"{self.index}_chunk"

    @property
    def queue(self) -> str:
        """Table: one appended row per change that waits for a worker."""
        return f"{self.index}_queue"

    @property
    def lexeme(self) -> str:
        """Table: how many documents hold each common lexeme."""
        return f"{self.index}_lexeme"

    @property
    def token(self) -> str:
        """Table: the vectors of tokens, of which a query's vector is made."""
        return f"{self.index}_token"

    @property
    def generation(self) -> str:
        """Sequence: drawn anew by every change of a document's text."""
        return f"{self.index}_generation"

    @property
    def hit(self) -> str:
        """Composite type: one result of a search."""
        return f"{self.index}_hit"

    @property
    def passage(self) -> str:
        """Composite type: one passage that a search for passages found."""
        return f"{self.index}_passage"

    @property
    def row(self) -> str:
        """Composite type: what is read of one source row: key, texts, configuration."""
        return f"{self.index}_row"

    @property
    def source(self) -> str:
        """View: the source table as the search index reads it: key, texts, configuration."""
        return f"{self.index}_source"

    @property
    def filter(self) -> str:
        """View: key and filter columns of the source table."""
        return f"{self.index}_filter"

    @property
    def read(self) -> str:
        """Function: reads one source row."""
        return f"{self.index}_read"

    def reader(self, schema: str) -> str:
        """Function in the schema `pgsearch`: reads one source row for the triggers."""
        name = f"{schema}.{self.index}"
        if len(name.encode()) <= MAX_BYTES:
            return name
        return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()

    @property
    def expression(self) -> str:
        """Function: the declared expressions of one source row, by number."""
        return f"{self.index}_expression"

    @property
    def evaluate(self) -> str:
        """Function: one declared expression, or NULL where it fails."""
        return f"{self.index}_evaluate"

    @property
    def watch(self) -> str:
        """Function: takes notice of partitions that came and went."""
        return f"{self.index}_watch_partitions"

    @property
    def search(self) -> str:
        """Function: answers a query."""
        return self.index

    @property
    def replaced(self) -> str:
        """Function: the search function before its parameters changed, for a moment."""
        return f"{self.index}_replaced"

    @property
    def passages(self) -> str:
        """Function: answers a query with passages."""
        return f"{self.index}_passages"

    @property
    def passages_replaced(self) -> str:
        """Function: `passages` before its parameters changed, for a moment."""
        return f"{self.index}_passages_replaced"

    @property
    def terms(self) -> str:
        """Function: the terms of a query with their document frequencies."""
        return f"{self.index}_terms"

    @property
    def encode(self) -> str:
        """Function: the vectors of a query's tokens."""
        return f"{self.index}_encode"

    @property
    def embed(self) -> str:
        """Function: the vector of a query."""
        return f"{self.index}_embed"

    @property
    def capture(self) -> str:
        """Trigger function (and trigger prefix): writes document and queue rows."""
        return f"{self.index}_capture"

    @property
    def isolated(self) -> str:
        """Function: what `capture` does in a transaction that keeps its snapshot."""
        return f"{self.index}_capture_isolated"

    @property
    def rewrite(self) -> str:
        """Function: writes the documents of some keys anew."""
        return f"{self.index}_rewrite"

    @property
    def notify(self) -> str:
        """Trigger on the queue: wakes workers."""
        return f"{self.index}_notify"

    def trigger(self, event: str) -> str:
        """Trigger on the source table.

        Triggers fire by name, and this must be the first: an AFTER trigger of the application
        may change the row again, and that change is captured after this one.
        """
        return f"00_{self.index}_{event}"

    @property
    def fill(self) -> str:
        """Function: writes the documents of one key range of an existing table."""
        return f"{self.index}_fill"

    @property
    def refresh(self) -> str:
        """Function: refreshes the keyword statistics."""
        return f"{self.index}_refresh_statistics"

    @property
    def document_tsv_index(self) -> str:
        """GIN index over the tsvector."""
        return f"{self.index}_document_tsv_idx"

    @property
    def chunk_hash_index(self) -> str:
        """B-tree index over content hashes."""
        return f"{self.index}_chunk_hash_idx"

    @property
    def queue_key_index(self) -> str:
        """B-tree index over the keys in the queue on which a model failed."""
        return f"{self.index}_queue_key_idx"

    @property
    def routines(self) -> tuple[str, ...]:
        """The functions in the schema of the source table, but for the search function."""
        made = (self.capture, self.isolated, self.fill, self.rewrite, self.watch, self.refresh)
        asked = (self.passages, self.terms, self.encode, self.embed)
        return (*asked, self.read, self.expression, self.evaluate, *made)

    @property
    def tables(self) -> tuple[str, ...]:
        """The companion tables."""
        return self.document, self.chunk, self.queue, self.lexeme, self.token

    @property
    def secured(self) -> dict[str, str | None]:
        """The companion tables that follow the table's row-level security, with a policy's name.

        Those without a policy are nobody's but their owner's.
        """
        tables = (self.document, self.chunk, self.queue)
        return {table: f"{table}_visible" for table in tables} | {
            self.lexeme: None,
            self.token: None,
        }

    def check(self) -> None:
        """Raise DeclarationError if the name, or any name derived from it, is too long."""
        check(self.index, "search index")
        spare = MAX_BYTES - len("_refresh_statistics")
        if len(self.index.encode()) > spare:
            raise DeclarationError(
                f"The search index name {self.index!r} is {len(self.index.encode())} bytes long; "
                f"with the suffixes of its own objects it would pass PostgreSQL's {MAX_BYTES}.",
                hint=f"Use at most {spare} bytes.",
            )

    def embedding_column(self, embedding: str) -> str:
        """Column of the chunk table that holds one embedding."""
        return check(f"embedding_{check_embedding_name(embedding)}", "embedding column")

    def hnsw_index(self, embedding: str) -> str:
        """HNSW index over one embedding column."""
        return check(f"{self.index}_{check_embedding_name(embedding)}_hnsw", "HNSW index")

    def new_hnsw_index(self, embedding: str) -> str:
        """HNSW index that is being built to take the other one's place."""
        return check(f"{self.index}_{check_embedding_name(embedding)}_new", "HNSW index")

    def old_hnsw_index(self, embedding: str) -> str:
        """HNSW index whose place another one has taken."""
        return check(f"{self.index}_{check_embedding_name(embedding)}_old", "HNSW index")
