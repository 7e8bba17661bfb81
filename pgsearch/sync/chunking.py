"""How a document's text becomes the passages that are embedded."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final, cast

from pgsearch.definition import Chunking
from pgsearch.models.protocol import Embedder

__all__ = ["content_hash", "split"]

#: A chunk has at most this many characters for each token it may have. Words take 4 to 6; this
#: binds where tokens say little, as a tokenizer may take a long run of letters for one token.
#: It also spares counting the tokens of a text that is far too long.
_MAX_CHARS_PER_TOKEN: Final = 16

#: A long text is cut into pieces of this many characters before it is chunked, for the work on
#: a piece grows faster than its length. Chunks do not overlap where two pieces meet.
_PIECE_CHARS: Final = 50_000

_WORD: Final = re.compile(r"(?<!\S)\S")


def split(
    text: str,
    heading: str | None,
    chunking: Chunking,
    embedder: Embedder,
    *,
    on_piece: Callable[[], None] = lambda: None,
) -> list[str]:
    """Return the contents to embed for one document, in order.

    Every character of the text that is not whitespace lies in at least one of
    them, and none has more tokens than the chunking and the model allow.

    Args:
        text: The document's text; may be empty.
        heading: Stands in front of every chunk, with an empty line between; of one that is
            longer than a quarter of a chunk, the beginning does. Without text it is the only
            chunk.
        chunking: The longest chunk and the overlap, in tokens.
        embedder: Its `count_tokens` and `max_tokens` are used.
        on_piece: Called now and then while a very long text is cut.
    """
    limit = min(chunking.max_tokens, embedder.max_tokens)
    count = _counter(embedder, limit)
    body = text.strip()
    title = _beginning(heading.strip(), limit // 4, count) if heading else ""
    prefix = f"{title}\n\n" if title and body else title
    whole = prefix + body
    # No tokenizer takes a character of ASCII for two tokens, though some add one for them all.
    if (len(whole) < limit and whole.isascii()) or count(whole) <= limit:
        return [whole] if whole else []
    size = limit - count(prefix)
    return [
        content
        for piece in _pieces(body, on_piece)
        for chunk in _chunks(piece, size, min(chunking.overlap, size // 2), count)
        for content in _fitting(prefix, chunk.strip(), limit, count)
    ]


def content_hash(content: str) -> bytes:
    """Return the SHA-256 of a chunk's content in UTF-8: 32 bytes."""
    return hashlib.sha256(content.encode()).digest()


def _counter(embedder: Embedder, limit: int) -> Callable[[str], int]:
    """Return a function that says how much of a chunk a text fills, in tokens."""

    def count(text: str) -> int:
        by_length = -(-len(text) // _MAX_CHARS_PER_TOKEN)
        # A single character cannot be split, whatever number of tokens it takes.
        if len(text) <= 1 or by_length > limit:
            return by_length
        return max(by_length, embedder.count_tokens(text))

    return count


def _chunks(text: str, size: int, overlap: int, count: Callable[[str], int]) -> Iterator[str]:
    """Split a text at the most meaningful boundaries: paragraphs, sentences, clauses, words.

    Each chunk begins with the last words of the one before it, as far as they fit into `overlap`
    tokens. (semchunk's own overlap is made of pieces as short as the overlap, which fill chunks
    badly: it yields a third more of them.)
    """
    import semchunk

    _, places = semchunk.chunk(  # type: ignore[attr-defined]  # exported without saying so
        text, size - overlap, count, offsets=True, memoize=False
    )
    for start, end in cast("list[tuple[int, int]]", places):
        yield text[_earlier(text, start, overlap, count) : end]


def _earlier(text: str, start: int, overlap: int, count: Callable[[str], int]) -> int:
    """Return where the words before `start` begin that fit into `overlap` tokens."""
    lowest = max(0, start - overlap * _MAX_CHARS_PER_TOKEN)
    words = [lowest + word.start() for word in _WORD.finditer(text[lowest:start])]
    # From some word on, all that is left up to `start` fits.
    fitting = bisect_left(words, True, key=lambda at: count(text[at:start]) <= overlap)
    return words[fitting] if fitting < len(words) else start


def _beginning(heading: str, size: int, count: Callable[[str], int]) -> str:
    """Return a heading, or as much of its beginning as fits."""
    if count(heading) <= size:
        return heading
    start = heading[: size * _MAX_CHARS_PER_TOKEN]
    return next(_chunks(start, size, 0, count)).strip() if size else ""


def _pieces(text: str, on_piece: Callable[[], None]) -> Iterator[str]:
    """Cut a long text at the end of a paragraph, a line or a word."""
    start = 0
    while len(text) - start > _PIECE_CHARS:
        on_piece()
        end = start + _PIECE_CHARS
        for boundary in ("\n\n", "\n", " "):
            at = text.rfind(boundary, start + _PIECE_CHARS // 2, end)
            if at >= 0:
                end = at
                break
        yield text[start:end]
        start = end
    yield text[start:]


def _fitting(prefix: str, chunk: str, limit: int, count: Callable[[str], int]) -> Iterator[str]:
    """Put the heading in front of a chunk, in two halves if the whole is too long.

    Some tokenizers make more tokens of two texts put together than of both by
    themselves, so that a chunk of the right size may still be a little too long.
    """
    content = prefix + chunk
    if count(content) <= limit or len(chunk) == 1:
        yield content
        return
    middle = len(chunk) // 2
    cut = max(chunk.rfind(" ", 1, middle), 0) or middle
    for half in (chunk[:cut], chunk[cut:]):
        yield from _fitting(prefix, half.strip(), limit, count)
