"""What a project needs for pgsearch: the changes to its files, and what is left to its owner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgsearch.errors import Error
from pgsearch.project import environment, models
from pgsearch.project.change import Change
from pgsearch.project.configuration import Configuration
from pgsearch.project.declaration import Place, Wanted, render
from pgsearch.project.source import Insertion, Source, decode


@dataclass(frozen=True)
class ProjectPlan:
    """What is to be done to a project.

    Args:
        changes: To files, in the order in which they are written.
        by_hand: What its owner has to change.
        remarks: What is good to know.
        module: The dotted name of the module that declares; None if none is written.
    """

    changes: Sequence[Change]
    by_hand: Sequence[str]
    remarks: Sequence[str]
    module: str | None = None


def plan(
    configuration: Configuration,
    wanted: Wanted | None = None,
    *,
    file: Path | None = None,
    database: str | None = None,
) -> ProjectPlan:
    """Return what a project needs.

    Args:
        wanted: A search index to declare; None to prepare env.py only.
        file: The module to declare it in; None for `search.py` beside the models.
        database: Whose models to look at, where env.py has several.

    Raises:
        Error: A file cannot be added to, or the search index cannot be declared.
    """
    env = configuration.env
    before = env.read_bytes()
    text, encoding = decode(before, str(env))
    source = Source(text, env.name)
    made = environment.plan(source)
    _look_at_template(configuration, made)
    insertions, changes, module = list(made.insertions), [], None
    if wanted is not None:
        found = models.look(configuration, wanted, database)
        if found.place is not None:
            path = (file or _beside(found.place)).absolute()
            module = _dotted_name(path, found)
            declaring = render(wanted, found.place).replace("\n", source.newline).encode()
            changes += _new(path, declaring)
            insertions += environment.plan_import(source, module)
    if insertions:
        after = _checked(source, insertions).encode(encoding)
        changes.append(Change(env, before, after, encoding.removesuffix("-sig")))
    return ProjectPlan(changes, made.by_hand, made.remarks, module)


def _checked(source: Source, insertions: list[Insertion]) -> str:
    """Return a file's text with insertions; that it is still Python is read before it is shown."""
    text = source.with_insertions(insertions)
    Source(text, f"{source.name} with what pgsearch would add")
    return text


def _look_at_template(configuration: Configuration, made: environment.Plan) -> None:
    template = configuration.scripts / "script.py.mako"
    if template.is_file() and b"imports" not in template.read_bytes():
        made.by_hand.append(
            f'{template.name} has no `${{imports if imports else ""}}`: put it below its '
            "imports, for migrations import what they need from pgsearch there."
        )


def _beside(place: Place) -> Path:
    """Return `search.py` beside the module, or the package, that a table is found in."""
    file = Path(place.file)
    if "site-packages" in file.parts:
        raise Error(
            f"The table's module {place.module} is installed at {file}, not part of the project.",
            hint="Name a file of the project with --module.",
        )
    folder = file.parent.parent if file.name == "__init__.py" else file.parent
    return folder / "search.py"


def _new(path: Path, content: bytes) -> list[Change]:
    if path.exists():
        if path.read_bytes() == content:
            return []
        raise Error(
            f"There is a file {path} already, and pgsearch overwrites none.",
            hint="Name another one with --module, or declare the search index there yourself.",
        )
    if not path.parent.is_dir():
        raise Error(f"There is no folder {path.parent}.", hint="Make it, or name another --module.")
    return [Change(path, None, content)]


def _dotted_name(path: Path, found: models.Found) -> str:
    """Return the name by which env.py imports a file."""
    assert found.place is not None
    steps = found.place.module.count(".") + (Path(found.place.file).name == "__init__.py")
    root = Path(found.place.file).absolute().parents[steps]
    by_depth = sorted(found.import_roots, key=lambda each: len(each.parts), reverse=True)
    for folder in (root, *by_depth):
        if path.suffix == ".py" and path.is_relative_to(folder):
            parts = path.relative_to(folder).with_suffix("").parts
            if all(part.isidentifier() for part in parts):
                return ".".join(parts)
    raise Error(
        f"env.py could not import {path}.",
        hint=f"Name a .py file below {root} with --module.",
    )
