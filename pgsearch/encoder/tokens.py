"""Texts as tokens, taken apart by the database: as a search takes a query apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pgsearch import resources
from pgsearch.database import Connection

#: Texts per statement.
_BATCH: Final = 2000


@dataclass
class Vocabulary:
    """The tokens that an encoder knows, and by which numbers.

    Args:
        words: The words, the most frequent first.
        parts: Parts of words, behind a `#`.
        parts_of: The numbers of each word's parts, in the order of the words.
    """

    words: list[str]
    parts: list[str]
    parts_of: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = {token: n for n, token in enumerate([*self.words, *self.parts])}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def tokens(self) -> list[str]:
        """All tokens by number: words, then parts."""
        return [*self.words, *self.parts]

    def numbers(self, tokens: Iterable[str]) -> list[int]:
        """Return the numbers of those tokens that are known, in order."""
        return sorted(self._numbers[token] for token in tokens if token in self._numbers)

    def get(self, token: str) -> int | None:
        """Return a token's number; None if it is not known."""
        return self._numbers.get(token)


def words_of(
    connection: Connection, texts: Sequence[str], tick: Callable[[], None] = lambda: None
) -> list[list[str]]:
    """Return the words of each text."""
    statement = resources.sql("encoder/words.sql").encode()
    found: list[list[str]] = []
    for start in range(0, len(texts), _BATCH):
        tick()
        batch = [text.replace("\x00", "") for text in texts[start : start + _BATCH]]
        found += (row[0] for row in connection.execute(statement, {"texts": batch}))
    return found


def parts_of(connection: Connection, words: Sequence[str]) -> list[list[str]]:
    """Return the parts of each word."""
    statement = resources.sql("encoder/parts.sql").encode()
    found: list[list[str]] = []
    for start in range(0, len(words), _BATCH):
        batch = list(words[start : start + _BATCH])
        found += (row[0] for row in connection.execute(statement, {"words": batch}))
    return found


def document_counts(documents: Sequence[int], words: Sequence[Sequence[str]]) -> Counter[str]:
    """Return in how many documents each word is.

    Args:
        documents: The number of each passage's document.
        words: The words of each passage.
    """
    by_document: dict[int, set[str]] = {}
    for document, found in zip(documents, words, strict=True):
        by_document.setdefault(document, set()).update(found)
    return Counter(word for found in by_document.values() for word in found)


def vocabulary(
    connection: Connection,
    counts: Counter[str],
    *,
    at_least: int,
    most_words: int,
    most_parts: int,
) -> Vocabulary:
    """Return the tokens that an encoder is to know.

    Args:
        connection: A connection.
        counts: In how many documents each word is.
        at_least: Words in fewer documents are left out, and so are their parts.
        most_words: The most words; the most frequent ones are taken.
        most_parts: The most parts; those of most words are taken.
    """
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    words = [word for word, count in ranked if count >= at_least][:most_words]
    cut = parts_of(connection, words)
    in_words = Counter(part for parts in cut for part in parts)
    common = sorted(in_words.items(), key=lambda item: (-item[1], item[0]))
    # What is in a single word says no more than that word.
    parts = [part for part, count in common if count > 1][:most_parts]
    made = Vocabulary(words, parts)
    numbers = {part: len(words) + n for n, part in enumerate(parts)}
    made.parts_of = [[numbers[part] for part in of_word if part in numbers] for of_word in cut]
    return made
