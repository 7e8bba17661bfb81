"""Texts of passages that are as short as queries, to learn from and to be compared by."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

#: Where a sentence ends: at a line's end, or behind a full stop.
_END: Final = re.compile(r"\n+|(?<=[.!?;])\s+|(?<=[\u3002\uff01\uff1f])")

#: Characters of a sentence that is taken whole, or of any other text; words of a span, or drawn.
LONGEST: Final = 400
_SPAN: Final = (3, 13)
_DRAWN: Final = (2, 6)

#: Between these lengths a text without blanks, as in Chinese, has its spans; characters.
_UNSPACED: Final = (6, 40)


def drawn(
    passages: Sequence[str],
    words: Sequence[Sequence[str]],
    weights: Mapping[str, float],
    wanted: int,
    seed: int,
) -> list[str]:
    """Return texts of a few words of a passage each, in no order and none of them twice.

    So people ask: by words that tell something, without what stands between them in a text or in a
    program.

    Args:
        passages: Passages of the corpus.
        words: The words of each.
        weights: How much each word says, by which it is drawn; of others none is.
        wanted: How many texts at most.
        seed: Which ones are drawn.
    """
    draw = random.Random(seed)  # noqa: S311  no secret
    found: dict[str, None] = {}
    for _ in range(2 * wanted):
        if len(found) >= wanted or not passages:
            break
        number = draw.randrange(len(passages))
        text = _draw_words(words[number], weights, draw)
        # Words without blanks between them are no text when they stand alone.
        if _is_unspaced(passages[number]) or not text:
            text = _span(passages[number], draw)
        if text:
            found[text] = None
    return list(found)


def _draw_words(words: Sequence[str], weights: Mapping[str, float], draw: random.Random) -> str:
    # The shortest of exponential waiting times: as if one after the other were drawn by weight.
    waits = {
        word: draw.expovariate(weights[word])
        for word in dict.fromkeys(words)
        if len(word) > 1 and weights.get(word)
    }
    taken = set(sorted(waits, key=lambda word: waits[word])[: draw.randint(*_DRAWN)])
    return " ".join(word for word in waits if word in taken) if len(taken) > 1 else ""


def pieces(passages: Sequence[str], wanted: int, seed: int) -> list[str]:
    """Return sentences and spans, in no order and none of them twice.

    One half are sentences, the other spans of words that begin anywhere.

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
    if _is_unspaced(passage):
        length = draw.randint(*_UNSPACED)
        start = draw.randrange(max(1, len(passage) - length))
        return passage[start : start + length].strip()
    start = draw.randrange(max(1, len(words) - length + 1))
    return " ".join(words[start : start + length])[:LONGEST]


def _is_unspaced(passage: str) -> bool:
    return len(passage) > 20 * len(passage.split())
