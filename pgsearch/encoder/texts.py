"""What an encoder learns from: pieces of passages that are as short as queries."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Final

#: Where a sentence ends: at a line's end, or behind a full stop.
_END: Final = re.compile(r"\n+|(?<=[.!?;])\s+|(?<=[\u3002\uff01\uff1f])")

#: Characters of a sentence that is taken whole, or of any other text; words of a span.
LONGEST: Final = 400
_SPAN: Final = (3, 13)

#: Between these lengths a text without blanks, as in Chinese, has its spans; characters.
_UNSPACED: Final = (6, 40)


def pieces(passages: Sequence[str], wanted: int, seed: int) -> list[str]:
    """Return texts to learn from, in no order and none of them twice.

    One half are sentences, the other spans of words that begin anywhere: sentences alone say too
    little about a few words that stand together, which is what queries are.

    Args:
        passages: Passages of the corpus.
        wanted: How many texts at most.
        seed: Which ones are drawn.
    """
    draw = random.Random(seed)  # noqa: S311  no secret
    sentences = list({s for passage in passages for s in _sentences(passage)})
    sentences.sort()
    draw.shuffle(sentences)
    found = dict.fromkeys(sentences[: wanted // 2])
    # Short corpora have less than is wanted: they are not to be repeated for ever.
    for _ in range(wanted):
        if len(found) >= wanted or not passages:
            break
        span = _span(draw.choice(passages), draw)
        if span:
            found[span] = None
    texts = list(found)
    draw.shuffle(texts)
    return texts


def _sentences(passage: str) -> Iterator[str]:
    for part in _END.split(passage):
        text = " ".join(part.split())
        if 3 < len(text) <= LONGEST:
            yield text


def _span(passage: str, draw: random.Random) -> str:
    words = passage.split()
    length = draw.randint(*_SPAN)
    if len(passage) > 20 * len(words):
        length = draw.randint(*_UNSPACED)
        start = draw.randrange(max(1, len(passage) - length))
        return passage[start : start + length].strip()
    start = draw.randrange(max(1, len(words) - length + 1))
    return " ".join(words[start : start + length])[:LONGEST]
