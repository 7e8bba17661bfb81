"""A look at a project's own models, in a process of its own.

The models are loaded as Alembic loads them: env.py is run to where it knows its metadata, and no
further, so that no database is touched. What they print or do to the interpreter stays there.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pgsearch.errors import DeclarationError, Error
from pgsearch.project.configuration import Configuration
from pgsearch.project.declaration import Place, Wanted
from pgsearch.project.environment import target_metadata
from pgsearch.project.source import Source, decode

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table


@dataclass(frozen=True)
class Found:
    """What the project's models say of a search index that is wanted.

    Args:
        is_declared: Whether the project declares it already.
        place: Where its table is found; None if it is declared.
        import_roots: Folders that Python imports from, for env.py.
    """

    is_declared: bool
    place: Place | None = None
    import_roots: tuple[Path, ...] = ()


def look(configuration: Configuration, wanted: Wanted, database: str | None = None) -> Found:
    """Return what a project's models say of a search index that is wanted.

    Args:
        database: The one to look at, where env.py has metadata for several.

    Raises:
        Error: The models cannot be loaded, or it cannot be declared on them.
    """
    request = {
        "ini": str(configuration.ini or "") or None,
        "toml": str(configuration.toml or "") or None,
        "section": configuration.section,
        "env": str(configuration.env),
        "database": database,
        "wanted": asdict(wanted),
    }
    # As a script that is installed: without the current folder on sys.path (-P).
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pgsearch.project.models"],
        input=json.dumps(request),
        cwd=configuration.directory,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0 or not done.stdout:
        said = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise Error(
            f"{configuration.env} cannot be run to where it knows its models: {said}",
            hint="`alembic check` runs the same lines: make them work first.",
        )
    answer = json.loads(done.stdout)
    if "message" in answer:
        raise Error(answer["message"], hint=answer["hint"])
    place = answer["place"]
    return Found(
        answer["is_declared"],
        Place(**place) if place else None,
        tuple(Path(root) for root in answer["import_roots"]),
    )


def main() -> None:
    """Answer one request on standard input; only the answer goes to standard output."""
    answers = os.dup(1)
    os.dup2(2, 1)
    try:
        answer = _answer(json.load(sys.stdin))
    except Error as error:
        answer = {"message": error.message, "hint": error.hint}
    with os.fdopen(answers, "w") as output:
        json.dump(answer, output)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from pgsearch.declare import declared_on

    wanted = Wanted(**request["wanted"])
    table = _table(_metadata(request), wanted.table, request["database"])
    if not wanted.text:
        columns = ", ".join(column.name for column in table.columns)
        raise Error(
            f"Which columns of table {wanted.table!r} hold the text to search?",
            hint=f"Name them with weights, as in --text title:A --text body:B; it has {columns}.",
        )
    is_declared = wanted.name in declared_on(table)
    try:
        wanted.declare(table)
    except DeclarationError as error:
        if not is_declared:
            raise
        raise Error(
            f"The project declares the search index {wanted.name!r} already, and otherwise.",
            hint="Change it there; `alembic revision --autogenerate` writes the migration.",
        ) from error
    return {
        "is_declared": is_declared,
        "place": None if is_declared else asdict(_place(table)),
        "import_roots": [str(Path(path).absolute()) for path in sys.path],
    }


def _metadata(request: Mapping[str, Any]) -> list[tuple[str, MetaData]]:
    """Run env.py to where it knows its metadata; return all of it, with names of databases."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import MetaData

    env = Path(request["env"])
    config = Config(request["ini"], toml_file=request["toml"], ini_section=request["section"])
    if config.get_alembic_option("script_location") is None:
        config.set_main_option("script_location", str(env.parent).replace("%", "%%"))
    names: dict[str, Any] = {"__name__": "env_py", "__file__": str(env)}
    beginning, expression = _beginning(env)
    with EnvironmentContext(config, ScriptDirectory.from_config(config)):
        # As Alembic runs it, but for its end.
        exec(compile(beginning, str(env), "exec"), names)  # noqa: S102
        value = eval(compile(expression, str(env), "eval"), names)  # noqa: S307
    found = list(_by_database(value))
    if not found or any(not isinstance(each, MetaData) for _, each in found):
        says = "is" if not value else "holds no MetaData but"
        raise Error(
            f"target_metadata in {env} {says} {value}: autogenerate sees no models.",
            hint="Import your models there, and write target_metadata = Base.metadata.",
        )
    return found


def _by_database(value: object) -> Iterator[tuple[str, Any]]:
    """Yield all metadata, each with the name of its database if env.py has several."""
    by_name = value.items() if isinstance(value, Mapping) else [("", value)]
    for name, given in by_name:
        for each in given if isinstance(given, (list, tuple)) else [given]:
            if each is not None:
                yield str(name), each


def _beginning(env: Path) -> tuple[ast.Module, ast.Expression]:
    """Return env.py to where its metadata is known, with its imports, and what the metadata is."""
    source = Source(decode(env.read_bytes(), str(env))[0], str(env))
    anchor, expression = target_metadata(source)
    if anchor is None or expression is None:
        raise Error(
            f"{env} sets no target_metadata at its top level.",
            hint="Write target_metadata = Base.metadata there.",
        )
    body = source.tree.body
    end = body.index(anchor) + 1
    imports = [s for s in body[end:] if isinstance(s, (ast.Import, ast.ImportFrom))]
    module = ast.Module([*body[:end], *imports], [])
    return module, ast.fix_missing_locations(ast.Expression(expression))


def _table(metadata: Sequence[tuple[str, MetaData]], key: str, database: str | None) -> Table:
    chosen = [(name, each) for name, each in metadata if database in (None, name)]
    if not chosen:
        raise Error(
            f"target_metadata has nothing for {database!r}.",
            hint=f"It has {', '.join(name for name, _ in metadata)}.",
        )
    holders = {name: each for name, each in chosen if key in each.tables}
    if not holders:
        known = sorted({name for _, each in chosen for name in each.tables})
        raise Error(
            f"The project's models have no table {key!r}.",
            hint=f"They have {', '.join(known)}." if known else "env.py imports none of them.",
        )
    if len(holders) > 1:
        raise Error(
            f"Several databases have a table {key!r}: {', '.join(holders)}.",
            hint="Choose one with --name.",
        )
    (found,) = holders.values()
    return found.tables[key]


def _place(table: Table) -> Place:
    """Return where a table is found: its mapped class, itself, or what holds its metadata."""
    by_key = f"tables[{json.dumps(table.key, ensure_ascii=False)}]"
    found: dict[int, Place] = {}
    for module, name, value in _project_names():
        own = vars(value) if isinstance(value, type) else {}
        ways = [
            (own.get("__table__") is table, f"{name}.__table__"),
            (value is table, name),
            (own.get("metadata") is table.metadata, f"{name}.metadata.{by_key}"),
            (value is table.metadata, f"{name}.{by_key}"),
        ]
        for rank, (is_one, expression) in enumerate(ways):
            if is_one:
                file = str(Path(str(module.__file__)).absolute())
                place = Place(module.__name__, file, name, expression)
                found.setdefault(rank, place)
    if not found:
        raise Error(
            f"No module that env.py imports holds the table {table.key!r} or its metadata.",
            hint="Declare the search index by hand, where the table is made.",
        )
    return found[min(found)]


def _project_names() -> Iterator[tuple[ModuleType, str, object]]:
    """Yield the classes, tables and metadata that loaded modules define at their top level."""
    from sqlalchemy import MetaData, Table

    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType) or module.__name__ == "__main__":
            continue
        file = str(vars(module).get("__file__"))
        if not file.endswith(".py"):
            continue
        for name, value in list(vars(module).items()):
            if isinstance(value, type):
                if value.__module__ == module.__name__ and value.__name__ == name:
                    yield module, name, value
            elif isinstance(value, (MetaData, Table)):
                # It may be imported from elsewhere; it does not say from where.
                text, _ = decode(Path(file).read_bytes(), file)
                if re.search(rf"^{re.escape(name)}\s*[:=]", text, re.MULTILINE):
                    yield module, name, value


if __name__ == "__main__":
    main()
