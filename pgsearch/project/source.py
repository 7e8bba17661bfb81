"""A Python file that is added to: where text goes is found in its syntax tree, the rest stays."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from pgsearch.errors import Error

#: Lines are not made longer than this, in characters.
WIDTH = 88

_ENDING = re.compile(r"\r\n|\r|\n")

#: Tokens that are not part of an expression.
_LAYOUT = frozenset({tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE})


@dataclass(frozen=True)
class Insertion:
    """Text to insert.

    Args:
        row: Line, from 1.
        column: Characters of that line in front of it.
        text: What to insert; a line break in it is written `\\n`.
    """

    row: int
    column: int
    text: str


def decode(data: bytes, name: str) -> tuple[str, str]:
    """Return a Python file's text, line endings as they are, and the encoding that it is in.

    Raises:
        Error: It is not what it says that it is.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding), encoding
    except (SyntaxError, UnicodeDecodeError) as error:
        raise Error(f"{name} cannot be read: {error}.", hint="Save it as UTF-8.") from error


class Source:
    """A Python file's text with its tree.

    Args:
        text: Its content, line endings as they are.
        name: What messages call it.

    Raises:
        Error: It is not Python.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._lines = _ENDING.split(text)
        self._endings = [*_ENDING.findall(text), ""]
        # Rows and columns are the same here and in the text itself.
        uniform = "\n".join(self._lines)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the style of what is only read here
                self.tree = ast.parse(uniform)
            tokens = list(tokenize.generate_tokens(io.StringIO(uniform).readline))
        except (SyntaxError, ValueError, tokenize.TokenError) as error:
            said = str(error)
            if isinstance(error, SyntaxError):
                said = f"line {error.lineno}: {error.msg}"
            raise Error(f"{name} is not Python: {said}.", hint="Correct it.") from error
        self._tokens = [token for token in tokens if token.type not in _LAYOUT]

    @property
    def newline(self) -> str:
        """The line ending of the first line."""
        return self._endings[0] or "\n"

    def with_insertions(self, insertions: Iterable[Insertion]) -> str:
        """Return the text with insertions made; each line break is as those around it."""
        lines = list(self._lines)
        # From the end, so that positions hold; of two at one place, the first goes first.
        for insertion in sorted(insertions, key=lambda i: (i.row, i.column))[::-1]:
            row = insertion.row - 1
            text = insertion.text.replace("\n", self._endings[row] or self.newline)
            before, after = lines[row][: insertion.column], lines[row][insertion.column :]
            lines[row] = before + text + after
        return "".join(line + end for line, end in zip(lines, self._endings, strict=True))

    def add_line(self, after: ast.stmt, line: str) -> list[Insertion]:
        """Return what puts a line behind a statement of the module's top level."""
        row = after.end_lineno or after.lineno
        for statement in self.tree.body:
            if statement.lineno == row and statement is not after:  # behind a semicolon
                row = statement.end_lineno or row
        return [Insertion(row, len(self._lines[row - 1]), f"\n{line}")]

    def add_item(self, node: ast.Call | ast.List, item: str) -> list[Insertion]:
        """Return what puts one more argument into a call, or one more item into a list.

        It goes to the end, in the layout of what is there.
        """
        close = self._position(node.end_lineno, node.end_col_offset)
        at = next(i for i, token in enumerate(self._tokens) if token.end == close)
        last = self._tokens[at - 1]
        row, column = last.end
        if last.string in ("(", "["):
            return [Insertion(close[0], close[1] - 1, item)]
        has_comma = last.string == ","
        first, final = self._ends(node)
        if row < close[0]:  # the bracket closes on a line of its own
            indent = re.match(r"\s*", self._lines[final - 1])
            assert indent is not None
            line = Insertion(row, len(self._lines[row - 1]), f"\n{indent[0]}{item},")
            return [line] if has_comma else [Insertion(row, column, ","), line]
        glue, end = ("", ",") if has_comma else (",", "")
        # Below the first one, if that makes it fit.
        indented = re.sub(r"[^\t]", " ", self._lines[first[0] - 1][: first[1]]) + item + end
        is_long = len(self._lines[row - 1]) + len(f"{glue} {item}{end}") > WIDTH
        if is_long and len(indented) < WIDTH:
            return [Insertion(row, column, f"{glue}\n{indented}")]
        return [Insertion(row, column, f"{glue} {item}{end}")]

    def _ends(self, node: ast.Call | ast.List) -> tuple[tuple[int, int], int]:
        """Return where the first item begins, and the row in which the last one does."""
        items: list[ast.expr | ast.keyword]
        items = [*node.args, *node.keywords] if isinstance(node, ast.Call) else [*node.elts]
        starts = sorted(self._position(item.lineno, item.col_offset) for item in items)
        return starts[0], starts[-1][0]

    def _position(self, row: int | None, offset: int | None) -> tuple[int, int]:
        """Return row and column in characters, where `ast` counts bytes of UTF-8."""
        assert row is not None
        assert offset is not None
        return row, len(self._lines[row - 1].encode()[:offset].decode())
