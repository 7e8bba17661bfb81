"""How many tokens a text takes, for a model that runs elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Protocol

from pgsearch.errors import ModelUnavailable

#: What an estimate takes for a token each: four letters of a word, two digits of a number, ends of
#: lines, and every other sign of ASCII. Of a sign outside of it, it is all bytes but one.
_TOKEN: Final = re.compile(r"[A-Za-z]{1,4}|[0-9]{1,2}|\n{1,4}|[^\sA-Za-z0-9]")


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
        tokens = _TOKEN.findall(text)
        if text.isascii():
            return len(tokens)
        return sum(map(_weight, tokens))

    def cut(self, text: str, limit: int) -> str:
        """Return as much of a text's beginning as has about so many tokens."""
        left = limit
        for token in _TOKEN.finditer(text):
            left -= _weight(token[0])
            if left < 0:
                return text[: token.start()]
        return text


def _weight(token: str) -> int:
    return 1 if token.isascii() else len(token.encode("utf-8", "replace")) - 1


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
