"""The bench itself: its parts, one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import click

from bench.options import JSON, POSTGRES, SVG, end_in_order, say, write_details
from bench.server import server
from bench.sync import chart, freshness, memory, model, race, writer
from bench.sync.texts import collection_words, made_words
from pgsearch.errors import Error


class Found(Protocol):
    """What a part has measured."""

    def tell(self) -> bool:
        """Print the measurements; return whether every target was met."""

    def to_json(self) -> dict[str, Any]:
        """Return everything that was seen."""


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
        rows: Rows of the race; the other parts have theirs in proportion.
        rounds: Rounds of the race, in the same way.
        data: A collection whose texts are taken; words are made if None.
        with_pgai: Whether pgai takes part in the race.
    """

    rows: int = race.Settings.rows
    rounds: int = race.Settings.rounds
    data: Path | None = None
    with_pgai: bool = True

    def in_proportion(self, usual: int, least: int) -> int:
        """Return a part's own number: the usual one if there are as many rows as usual."""
        return max(least, usual * self.rows // Settings.rows)

    def in_rounds(self, usual: int) -> int:
        """Return a part's own number of rounds."""
        return max(1, usual * self.rounds // Settings.rounds)

    def words(self) -> list[str]:
        """Return running text, of which texts are made."""
        return made_words() if self.data is None else collection_words(self.data)


Say = Callable[[str], None]


def _race(settings: Settings, say: Say) -> race.Race:
    raced = race.Settings(settings.rows, settings.rounds, with_pgai=settings.with_pgai)
    return race.measure(raced, settings.words(), say)


def _model(settings: Settings, say: Say) -> model.Overhead:
    texts = settings.in_proportion(model.Settings.texts, 10)
    rounds = settings.in_rounds(model.Settings.rounds)
    return model.measure(model.Settings(texts, rounds, settings.data), say)


def _freshness(settings: Settings, say: Say) -> freshness.Freshnesses:
    commits = settings.in_proportion(freshness.Settings.commits, 5)
    rows = settings.in_proportion(freshness.Settings.rows, 20)
    return freshness.measure(freshness.Settings(commits, rows), settings.words(), say)


def _memory(settings: Settings, say: Say) -> memory.Memory:
    rows = settings.in_proportion(memory.Settings.rows, 1000)
    return memory.measure(memory.Settings(rows), say)


def _writer(settings: Settings, say: Say) -> writer.Writing:
    usual = writer.Settings()
    return writer.measure(
        writer.Settings(
            rows=settings.in_proportion(usual.rows, 100),
            single=settings.in_proportion(usual.single, 20),
            durable=settings.in_proportion(usual.durable, 5),
            rounds=settings.in_rounds(usual.rounds),
            data=settings.data,
        ),
        say,
    )


PARTS: Final[dict[str, Callable[[Settings, Say], Found]]] = {
    "race": _race,
    "model": _model,
    "writer": _writer,
    "freshness": _freshness,
    "memory": _memory,
}

PICTURES: Final[dict[str, Callable[[Any], str]]] = {
    "race": chart.draw_race,
    "freshness": chart.draw_freshness,
    "memory": chart.draw_memory,
}


def _named_parts(context: click.Context, option: click.Parameter, value: str) -> list[str]:  # noqa: ARG001
    names = [name.strip() for name in value.split(",")]
    if unknown := [name for name in names if name not in PARTS]:
        raise click.BadParameter(f"{', '.join(unknown)}: there are {', '.join(PARTS)}.")
    return names


@click.command()
@click.option(
    "--parts",
    default=",".join(PARTS),
    show_default=True,
    callback=_named_parts,
    help="Which parts to run.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=10),
    default=Settings.rows,
    show_default=True,
    help="Rows of the race; the other parts have theirs in proportion.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=Settings.rounds,
    show_default=True,
    help="Rounds of the race; the other parts have theirs in proportion.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="A collection in BEIR's layout whose texts are taken; without it, words are made.",
)
@click.option("--no-pgai", is_flag=True, help="Leave pgai out, which is installed for the race.")
@POSTGRES
@JSON
@SVG
def main(
    parts: Sequence[str],
    rows: int,
    rounds: int,
    data: Path | None,
    no_pgai: bool,
    postgres: str,
    details: Path | None,
    pictures: Path | None,
) -> None:
    """Measure the sync engine: how fast it is, what it costs, how soon a change is found."""
    end_in_order()
    settings = Settings(rows, rounds, data, with_pgai=not no_pgai)
    found: dict[str, Found] = {}
    met = True
    try:
        with server(int(postgres)):
            for part in parts:
                found[part] = PARTS[part](settings, say)
                met &= found[part].tell()
    except Error as error:
        raise click.ClickException(str(error)) from error
    write_details(details, {part: each.to_json() for part, each in found.items()})
    if pictures is not None:
        for part in found.keys() & PICTURES.keys():
            drawn = PICTURES[part](found[part])
            (pictures / f"sync-{part}.svg").write_text(drawn, encoding="utf-8")
    sys.exit(0 if met else 1)
