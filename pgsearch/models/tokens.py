"""How many tokens a text takes, for a model that runs elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Protocol

from pgsearch.errors import ModelUnavailable

#: What an estimate counts one by one: words, numbers, ends of lines, and every other sign.
_PIECE: Final = re.compile(r"[A-Za-z]+|[0-9]+|\n+|[^\sA-Za-z0-9]")

#: Characters of a longer word, and of a number, that are taken for a token.
_WORD_CHARS: Final = 4
_NUMBER_CHARS: Final = 2


class Tokens(Protocol):
    """Counts the tokens of texts, and cuts texts by them."""

    def count(self, text: str) -> int:
        """Return how many tokens a text takes, special tokens not counted."""
        ...

    def cut(self, text: str, limit: int) -> str:
        """Return as much of a text's beginning as has at most so many tokens."""
        ...


class Estimate:
    """Guesses, rather too high than too low.

    Against the tokenizer of all-MiniLM-L6-v2: a third too high for English abstracts, a sixth for
    program code. Of other scripts, where models differ most, two bytes or so are taken for one.

    A number too high makes passages a little shorter than they might be; one too low makes the
    endpoint refuse them, or cut them in silence.
    """

    def count(self, text: str) -> int:
        """Return about how many tokens a text takes."""
        return sum(map(_weight, _PIECE.findall(text)))

    def cut(self, text: str, limit: int) -> str:
        """Return as much of a text's beginning as has about so many tokens."""
        left = limit
        for piece in _PIECE.finditer(text):
            weight = _weight(piece[0])
            if weight > left:
                # No token is shorter than a character, but for rare ones.
                return text[: piece.start() + (left if len(piece[0]) > 1 else 0)]
            left -= weight
        return text


def _weight(piece: str) -> int:
    if not piece.isascii():
        return len(piece.encode("utf-8", "replace")) - 1
    return -(-len(piece) // (_NUMBER_CHARS if piece[0].isdigit() else _WORD_CHARS))


class NamedTokenizer:
    """Counts with the tokenizer of the model itself.

    Args:
        path: A `tokenizer.json`, or the folder that it lies in.

    Raises:
        ModelUnavailable: It cannot be read, or the library tokenizers is not installed.
    """

    def __init__(self, path: str) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ModelUnavailable(
                f"The tokenizer {path!r} needs the library tokenizers: {error}.",
                hint="Install it: pip install tokenizers. Or leave `tokenizer` out of the Model.",
            ) from error
        file = Path(path).expanduser()
        file = file / "tokenizer.json" if file.is_dir() else file
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing more precise
            raise ModelUnavailable(
                f"The tokenizer {file} cannot be read: {error}.",
                hint="Write the folder of the model's tokenizer.json.",
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @property
    def special(self) -> int:
        """How many tokens of its own it puts around a text."""
        return int(self._tokenizer.num_special_tokens_to_add(False))

    def count(self, text: str) -> int:
        """Return how many tokens a text takes, special tokens not counted."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def cut(self, text: str, limit: int) -> str:
        """Return as much of a text's beginning as has at most so many tokens."""
        places = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return text if len(places) <= limit else text[: places[limit][0]]
