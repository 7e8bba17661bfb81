"""Pairs of words: what two words say side by side and their sum does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from pgsearch.encoder.tokens import Vocabulary

if TYPE_CHECKING:
    from pgsearch.encoder.train import Floats

#: Pairs in fewer documents than this are not worth a question to the model.
_AT_LEAST: Final = 3

#: How far a pair pulls the sum of its words to the model's vector of both: pairs overlap.
_PULL: Final = 0.3


class Pairs:
    """Pairs that an encoder knows.

    Args:
        pairs: Two words each.
        first_number: The number of the first pair; the others follow.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]], first_number: int) -> None:
        self._numbers = {pair: first_number + n for n, pair in enumerate(pairs)}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def tokens(self) -> list[str]:
        """The pairs as tokens: a blank is in no word."""
        return [" ".join(pair) for pair in self._numbers]

    @property
    def words(self) -> list[tuple[str, str]]:
        """The words of each pair."""
        return list(self._numbers)

    def keep(self, most: int) -> None:
        """Forget all but the first pairs."""
        self._numbers = dict(list(self._numbers.items())[:most])

    def numbers(self, words: Sequence[str]) -> Iterator[int]:
        """Yield the numbers of the pairs that stand in a text, given its words in order."""
        return (self._numbers[pair] for pair in pairwise(words) if pair in self._numbers)


def frequent_pairs(
    documents: Sequence[int],
    words: Sequence[Sequence[str]],
    known: Vocabulary,
    *,
    at_least: int,
    most: int,
) -> Pairs:
    """Return the pairs of known words that stand side by side in most documents.

    Args:
        documents: The number of each passage's document.
        words: The words of each passage, in order.
        known: The words and parts that the encoder knows.
        at_least: Pairs in fewer documents are left out.
        most: The most pairs.
    """
    import numpy as np

    count = len(known.words)
    _, numbered = np.unique(np.array(documents, dtype=np.int64), return_inverse=True)
    of_passages = [np.empty(0, dtype=np.int64)]
    for document, found in zip(numbered, words, strict=True):
        numbers = np.array([_number(known, word) for word in found], dtype=np.int64)
        first, second = numbers[:-1], numbers[1:]
        is_pair = (first >= 0) & (second >= 0) & (first != second)
        of_passages.append((first[is_pair] * count + second[is_pair]) * len(documents) + document)
    # Once for each document, however many passages of it say the same.
    once = np.unique(np.concatenate(of_passages)) // len(documents or [0])
    pairs, counts = np.unique(once, return_counts=True)
    enough = counts >= max(at_least, _AT_LEAST)
    pairs, counts = pairs[enough], counts[enough]
    ranked = pairs[np.argsort(-counts, kind="stable")][:most].tolist()
    return Pairs(
        [(known.words[pair // count], known.words[pair % count]) for pair in ranked],
        first_number=len(known),
    )


def vectors_of_pairs(
    table: Floats, known: Vocabulary, pairs: Pairs, made: Floats, mean: Floats
) -> Floats:
    """Return what each pair adds to the sum of its words.

    Args:
        table: The vectors of words and parts, as they are in the end.
        known: Their numbers.
        pairs: The pairs.
        made: The model's vector of each pair, of unit length.
        mean: The mean of the model's vectors of words, which says nothing.
    """
    import numpy as np

    sums = np.zeros_like(made)
    for row, pair in enumerate(pairs.words):
        sums[row] = table[[_number(known, word) for word in pair]].sum(axis=0)
    own = made - mean
    own /= np.linalg.norm(own, axis=1, keepdims=True).clip(min=1e-6)
    own *= np.linalg.norm(sums, axis=1, keepdims=True)
    pulled: Floats = _PULL * (own - sums)
    return pulled


def _number(known: Vocabulary, word: str) -> int:
    number = known.get(word)
    return -1 if number is None else number
