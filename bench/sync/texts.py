"""Texts to write: passages of a collection, or of words by Zipf's law.

Real text decides what a write costs: how many words are stop words, how often a word comes again,
how many have been seen before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import NamedTuple

from pgsearch.errors import Error

_STOP_WORDS = (
    "the of and in to a is that for with was as were by this from are on we or"
    " be an not these which at have has it but can both between"
)

_VOCABULARY = 30_000
_RUNNING_WORDS = 500_000
_ENDINGS = ("", "", "", "s", "ing", "ed", "ation", "ly", "ness", "al")
_TITLE_WORDS = 10


class Text(NamedTuple):
    """What a row says, and what it will say instead."""

    title: str
    body: str
    other: str


def texts(words: list[str], length: int, seed: int = 1) -> Iterator[Text]:
    """Yield texts without end: passages from random places.

    Args:
        words: Running text.
        length: Words of a body.
        seed: Where they are taken from.

    Raises:
        Error: There are not enough words.
    """
    if len(words) <= length:
        raise Error(f"There are {len(words)} words, too few for passages of {length}.")
    random = Random(seed)

    def passage(count: int) -> str:
        start = random.randrange(len(words) - count)
        return " ".join(words[start : start + count])

    while True:
        yield Text(passage(_TITLE_WORDS), passage(length), passage(length))


def collection_words(folder: Path) -> list[str]:
    """Return the running words of a collection's corpus.jsonl.

    Raises:
        Error: It cannot be read.
    """
    try:
        with Path(folder, "corpus.jsonl").open(encoding="utf-8") as lines:
            return " ".join(json.loads(line)["text"] for line in lines).split()
    except (OSError, ValueError, KeyError) as error:
        raise Error(
            f"The texts of {folder} cannot be read: {error}.",
            hint="Name a folder with a corpus.jsonl in BEIR's layout, or leave it out.",
        ) from error


def made_words(seed: int = 1) -> list[str]:
    """Return running words by Zipf's law: stop words first, then words that do not exist."""
    random = Random(seed)
    vocabulary = dict.fromkeys(_STOP_WORDS.split())
    while len(vocabulary) < _VOCABULARY:
        syllables = (
            random.choice("bcdfghklmnprstvw") + random.choice("aeiou")
            for _ in range(random.randint(1, 4))
        )
        vocabulary["".join(syllables) + random.choice("bdklmnrst") + random.choice(_ENDINGS)] = None
    weights = [*accumulate(1 / rank for rank in range(1, len(vocabulary) + 1))]
    words = random.choices([*vocabulary], cum_weights=weights, k=_RUNNING_WORDS)
    # A sentence now and then, as the parser sees them.
    return [word + "." if random.random() < 0.05 else word for word in words]
