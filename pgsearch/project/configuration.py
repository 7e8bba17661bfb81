"""Where a project's Alembic environment is: `alembic.ini`, `pyproject.toml`, or both."""

from __future__ import annotations

import configparser
import os
import re
import sys
import tomllib
import warnings
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pgsearch.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.config import Config

INI, TOML = "alembic.ini", "pyproject.toml"

#: How deep below the current folder a configuration is looked for.
DEPTH = 3

#: Folders that hold other people's projects.
_NOT_THE_PROJECT = frozenset({"build", "dist", "node_modules", "site-packages", "venv"})


@dataclass(frozen=True)
class Configuration:
    """An Alembic configuration, resolved.

    Args:
        directory: Where `alembic` is run.
        ini: The ini file; None if there is none.
        toml: The pyproject.toml; None if there is none.
        section: The ini file's section, as `alembic --name` takes it.
        scripts: The folder of env.py.
        import_paths: What Alembic puts in front of `sys.path`.
        databases: The databases of an env.py that migrates several.
        other_sections: Sections with environments of their own.
        given: The file that `alembic --config` has to be told, if any.
    """

    directory: Path
    ini: Path | None
    toml: Path | None
    section: str
    scripts: Path
    import_paths: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    other_sections: tuple[str, ...] = ()
    given: Path | None = None

    @property
    def env(self) -> Path:
        """The env.py."""
        return self.scripts / "env.py"

    @property
    def options(self) -> str:
        """What `alembic` needs to be told on its command line; ends in a blank unless empty."""
        config = f"--config {self.given} " if self.given else ""
        return config + (f"--name {self.section} " if self.section != "alembic" else "")


def find(directory: Path, config: Path | None = None, name: str | None = None) -> Configuration:
    """Return the Alembic configuration of a project.

    Args:
        directory: Where to look; if nothing is there, the folders below it are searched.
        config: The ini file or pyproject.toml to use, relative to `directory`.
        name: A section of the ini file, or one of its `databases`.

    Raises:
        Error: There is none, or more than one, or it cannot be read.
    """
    if config is None:
        home = directory if _holds_configuration(directory) else _search(directory)
        return _read(home, home / INI, home / TOML, name)
    path = directory / config
    if not path.is_file():
        raise Error(f"There is no file {path}.", hint="Name the ini file or pyproject.toml.")
    # As Alembic does, which reads the other one of the two where it is run.
    is_toml = path.name == TOML
    ini, toml = (directory / INI, path) if is_toml else (path, directory / TOML)
    usual = path in (directory / INI, directory / TOML)
    return _read(directory, ini, toml, name, given=None if usual else path)


def _holds_configuration(folder: Path) -> bool:
    return (folder / INI).is_file() or bool(_toml_table(folder / TOML))


def _toml_table(path: Path) -> object:
    """Return the table [tool.alembic]; None if there is no such file or table."""
    if not path.is_file():
        return None
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("alembic")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Error(f"{path} cannot be read: {error}.", hint="Correct it.") from error


def _search(directory: Path) -> Path:
    found = [folder for folder in _below(directory, DEPTH) if _holds_configuration(folder)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise Error(
            f"There is no Alembic configuration: neither {INI} nor a {TOML} with [tool.alembic] "
            f"in {directory} or below it.",
            hint="Go to the project's folder, name the file with --config, or begin one with "
            "`alembic init migrations`.",
        )
    shown = ", ".join(
        str((folder / (INI if (folder / INI).is_file() else TOML)).relative_to(directory))
        for folder in found
    )
    raise Error(
        f"There are several Alembic configurations below {directory}: {shown}.",
        hint="Go to the folder of one of them, or name its file with --config.",
    )


def _below(directory: Path, depth: int) -> Iterator[Path]:
    """Yield the folders below one, but for hidden ones, virtual environments and the like."""
    for folder in sorted(path for path in directory.iterdir() if path.is_dir()):
        hidden = folder.name.startswith(".") or folder.name in _NOT_THE_PROJECT
        if hidden or folder.is_symlink() or not os.access(folder, os.R_OK | os.X_OK):
            continue
        if not (folder / "pyvenv.cfg").exists():
            yield folder
            if depth > 1:
                yield from _below(folder, depth - 1)


def _read(
    directory: Path, ini: Path, toml: Path, name: str | None, given: Path | None = None
) -> Configuration:
    from alembic.config import Config

    found_ini = ini if ini.is_file() else None
    found_toml = toml if _toml_table(toml) else None
    config = Config(
        str(found_ini) if found_ini else None,
        toml_file=str(found_toml) if found_toml else None,
    )
    main = given or found_ini or found_toml
    try:
        section, others = _section(config, name)
        config.config_ini_section = section
        location: object = config.get_alembic_option("script_location")
        with warnings.catch_warnings():
            # Alembic warns of an ini file without `path_separator`; that is between the two.
            warnings.simplefilter("ignore")
            prepended = config.get_prepend_sys_paths_list() or []
        databases = _databases(config)
    except (configparser.Error, KeyError, ValueError) as error:
        said = " ".join(str(error).split())
        raise Error(f"{main} cannot be read as Alembic reads it: {said}.") from error
    import_paths = tuple(str(directory / path) for path in prepended)
    if location is None and main is not None and (main.parent / "env.py").is_file():
        location = main.parent  # as Flask-Migrate has it
    if location is None:
        raise Error(
            f"{main} names no script_location{f' in [{section}]' if found_ini else ''}.",
            hint="Write `script_location = %(here)s/migrations` there.",
        )
    scripts = _scripts(str(location), directory, import_paths)
    return Configuration(
        directory, found_ini, found_toml, section, scripts, import_paths, databases, others, given
    )


def _section(config: Config, name: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the section to use, and the others that have an environment of their own."""
    parser = config.file_config
    if "script_location" in parser.defaults():
        environments = []
    else:
        environments = [s for s in parser.sections() if parser.has_option(s, "script_location")]
    if name is not None:
        known = [*environments, *_databases(config)]
        if name not in known and not parser.has_option(name, "script_location"):
            raise Error(
                f"The configuration has no environment and no database {name!r}.",
                hint=f"It has {', '.join(known)}." if known else "Leave --name out.",
            )
        chosen = name if parser.has_option(name, "script_location") else "alembic"
    elif "alembic" in environments or not environments:
        chosen = "alembic"
    elif len(environments) == 1:
        (chosen,) = environments
    else:
        raise Error(
            f"The configuration has several environments: {', '.join(environments)}.",
            hint="Choose one with --name, as with `alembic --name`.",
        )
    return chosen, tuple(s for s in environments if s != chosen)


def _databases(config: Config) -> tuple[str, ...]:
    """Return the names under `databases`, as an env.py reads them that migrates several."""
    parser, section = config.file_config, config.config_ini_section
    text = parser.get(section, "databases", fallback="")
    return tuple(name for name in re.split(r"[,\s]+", text) if name)


def _scripts(location: str, directory: Path, import_paths: tuple[str, ...]) -> Path:
    """Return the folder of env.py."""
    in_package = ":" in location and not Path(location).is_absolute()
    folders = _in_package(location, import_paths) if in_package else [directory / location]
    for folder in folders:
        if (folder / "env.py").is_file():
            return folder
    raise Error(
        f"There is no env.py in the configuration's script_location, {location}.",
        hint="Run this where you run `alembic`, or begin one with `alembic init migrations`.",
    )


def _in_package(location: str, import_paths: tuple[str, ...]) -> Iterator[Path]:
    """Yield the folders that `package:folder` may mean; no package's code is run."""
    package, *inner = location.split(":")
    top, *rest = package.split(".")
    spec = PathFinder.find_spec(top, [*import_paths, *sys.path]) or find_spec(top)
    for folder in (spec and spec.submodule_search_locations) or ():
        yield Path(folder, *rest, *inner)
