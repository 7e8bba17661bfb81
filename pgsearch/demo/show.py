"""What the demo puts on the screen: headings, findings and tables, up to 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pgsearch.cli import console
from pgsearch.demo.ask import Answer

WIDTH = 100

#: Characters of a title in a table of three columns, with room for the mark.
_TITLE = 28


class Screen:
    """Standard output; in a pipe it has no colours and the same width."""

    def __init__(self) -> None:
        self._console: Console = console.results()
        if not self._console.is_terminal or self._console.width > WIDTH:
            self._console.width = WIDTH
        plain = self._console.options.ascii_only
        self.yes, self._no = ("+", "-") if plain else ("✓", "✗")
        self._failed: list[str] = []

    @property
    def failed(self) -> tuple[str, ...]:
        """The findings that were not as they should be."""
        return tuple(self._failed)

    def heading(self, number: int, text: str) -> None:
        """Begin an act."""
        self.blank()
        self._console.rule(f"[bold]{number}  {text}", align="left", style="cyan")

    def blank(self) -> None:
        """Print an empty line."""
        self._console.print()

    def say(self, text: str) -> None:
        """Print a line that claims nothing."""
        self._print(" ", text)

    def check(self, holds: bool, text: str) -> None:
        """Print a finding with the mark of whether it is as it should be."""
        if not holds:
            self._failed.append(text)
        style, mark = ("green", self.yes) if holds else ("bold red", self._no)
        self._print(f"[{style}]{mark}[/]", text)

    def verbatim(self, text: str) -> None:
        """Print text to copy: indented, and never broken into other lines."""
        lines = textwrap.indent(text, "    ")
        self._console.print(Text(lines, style="cyan"), soft_wrap=True)

    def answers(self, question: str, answers: Mapping[str, Answer], right: Collection[str]) -> None:
        """Print what each mode answered, side by side; hits that are right are marked."""
        self.blank()
        self._print("", f'[bold]"{escape(question)}"[/]')
        table = _table()
        for name, answer in answers.items():
            heading = f"{name}  [dim]{_ms(answer.ms)}[/]"
            table.add_column(heading, ratio=1, overflow="fold")
        places = range(max(len(answer.titles) for answer in answers.values()))
        for place in places:
            cells = (answer.titles[place : place + 1] for answer in answers.values())
            table.add_row(*(self._title(cell[0], right) if cell else "" for cell in cells))
        self._put(table)

    def first_hits(self, rows: Iterable[tuple[str, str, str]], right: Collection[str]) -> None:
        """Print questions with their first hit before and after the changes."""
        table = _table()
        for heading in ("the first hit for", "before", "after"):
            table.add_column(heading, ratio=1, overflow="fold")
        for question, before, after in rows:
            cells = (self._title(title, right) for title in (before, after))
            table.add_row(escape(f'"{question}"'), *cells)
        self._put(table)

    def _title(self, title: str, right: Collection[str]) -> str:
        """Return a title, its beginning left out if it is long, for its end tells more."""
        shown = escape(title if len(title) <= _TITLE else f"...{title[3 - _TITLE :]}")
        return f"[green]{shown} {self.yes}[/]" if title in right else shown

    def _print(self, mark: str, text: str) -> None:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=1)
        grid.add_column()
        grid.add_row(mark, text)
        self._put(grid)

    def _put(self, table: Table) -> None:
        """Print a table without the blanks that fill its last column."""
        with self._console.capture() as printed:
            self._console.print(table)
        for line in printed.get().splitlines():
            self._console.file.write(f"{line.rstrip()}\n")
        self._console.file.flush()


def _table() -> Table:
    return Table(box=None, header_style="cyan", expand=True, padding=(0, 1, 0, 2))


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"
