"""Where `pgsearch init` finds Alembic's environment, in every form that Alembic takes it in."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from pgsearch.errors import Error
from pgsearch.project.configuration import find
from tests.plugins.project import TEMPLATES, begin

INI = "[alembic]\nscript_location = %(here)s/migrations\n"
TOML = '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'


def write(folder: Path, **files: str) -> None:
    """Write files, `_` in a name for the dot; with an env.py in `migrations`."""
    for name, text in {"migrations/env_py": "", **files}.items():
        path = folder / name.replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_of_alembic_is_found(template: str, tmp_path: Path) -> None:
    begin(tmp_path, template)
    found = find(tmp_path)
    assert found.env == tmp_path / "migrations" / "env.py"
    assert found.import_paths == (str(tmp_path / "."),)
    assert found.databases == (("engine1", "engine2") if template == "multidb" else ())
    assert (found.toml is not None) == template.startswith("pyproject")
    assert found.options == ""
    # It is where Alembic itself looks.
    config = Config(str(found.ini), toml_file=str(found.toml) if found.toml else None)
    assert Path(ScriptDirectory.from_config(config).env_py_location) == found.env


@pytest.mark.parametrize(
    "text",
    [
        "[alembic]\nscript_location = migrations\n",
        "[alembic]\nhome = %(here)s\nscript_location = %(home)s/migrations\n",
        "[DEFAULT]\nscript_location = migrations\n[alembic]\n[loggers]\nkeys = root\n",
        "[alembic]\nscript_location = migrations\nprepend_sys_path = . lib\n",
        "[alembic]\nscript_location = migrations\n[other]\nscript_location = elsewhere\n",
    ],
)
def test_ini_files_of_all_kinds(text: str, tmp_path: Path) -> None:
    write(tmp_path, alembic_ini=text)
    found = find(tmp_path)
    assert found.env == tmp_path / "migrations" / "env.py"
    assert found.other_sections == (("other",) if "[other]" in text else ())
    if "lib" in text:
        assert found.import_paths == (str(tmp_path / "."), str(tmp_path / "lib"))


def test_an_ini_file_goes_before_a_pyproject(tmp_path: Path) -> None:
    write(tmp_path, pyproject_toml='[tool.alembic]\nscript_location = "elsewhere"\n')
    (tmp_path / "alembic.ini").write_text(INI)
    assert find(tmp_path).env == tmp_path / "migrations" / "env.py"


def test_a_pyproject_may_be_all_there_is(tmp_path: Path) -> None:
    write(tmp_path, pyproject_toml=TOML)
    found = find(tmp_path)
    assert (found.ini, found.env) == (None, tmp_path / "migrations" / "env.py")


@pytest.mark.parametrize("location", ["shop:migrations", "shop.data:alembic"])
def test_an_environment_inside_a_package(location: str, tmp_path: Path) -> None:
    package, _, inner = location.partition(":")
    folder = tmp_path / "src" / package.replace(".", "/")
    (folder / inner).mkdir(parents=True)
    (tmp_path / "src" / "shop" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / inner / "env.py").touch()
    (tmp_path / "alembic.ini").write_text(
        f"[alembic]\nscript_location = {location}\nprepend_sys_path = src\npath_separator = os\n"
    )
    assert find(tmp_path).env == folder / inner / "env.py"


def test_several_environments_need_a_name(tmp_path: Path) -> None:
    sections = "[one]\nscript_location = migrations\n[two]\nscript_location = two\n"
    write(tmp_path, alembic_ini=sections)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "env.py").touch()
    with pytest.raises(Error, match="several environments: one, two") as raised:
        find(tmp_path)
    assert "--name" in str(raised.value.hint)
    found = find(tmp_path, name="two")
    assert found.env == tmp_path / "two" / "env.py"
    assert found.options == "--name two "
    with pytest.raises(Error, match="no environment and no database 'three'"):
        find(tmp_path, name="three")
    write(tmp_path, alembic_ini=sections.partition("[two]")[0])
    assert find(tmp_path).section == "one"


def test_one_of_several_databases_has_the_same_environment(tmp_path: Path) -> None:
    write(tmp_path, alembic_ini=INI + "databases = shop, crm\n[shop]\nsqlalchemy.url = x\n")
    assert find(tmp_path).databases == ("shop", "crm")
    assert find(tmp_path, name="crm").section == "alembic"
    with pytest.raises(Error) as raised:
        find(tmp_path, name="shop2")
    assert raised.value.hint == "It has alembic, shop, crm."


def test_it_is_found_below(tmp_path: Path) -> None:
    backend = tmp_path / "services" / "backend"
    backend.mkdir(parents=True)
    write(backend, alembic_ini="[alembic]\nscript_location = migrations\n")
    for not_the_project in (".git", "node_modules", "env"):
        write(tmp_path / not_the_project, alembic_ini=INI)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'shop'\n")
    found = find(tmp_path)
    assert (found.directory, found.env) == (backend, backend / "migrations" / "env.py")
    write(tmp_path / "crm", pyproject_toml=TOML)
    with pytest.raises(Error) as raised:
        find(tmp_path)
    assert "crm/pyproject.toml, services/backend/alembic.ini" in raised.value.message
    assert "--config" in str(raised.value.hint)


def test_a_file_that_is_named(tmp_path: Path) -> None:
    write(tmp_path / "deploy", alembic_ini=INI, pyproject_toml=TOML)
    (tmp_path / "deploy" / "live.ini").write_text(INI)
    for name in ("alembic.ini", "live.ini", "pyproject.toml"):
        found = find(tmp_path, Path("deploy", name))
        assert found.env == tmp_path / "deploy" / "migrations" / "env.py"
        assert found.options == f"--config {tmp_path / 'deploy' / name} "
    assert find(tmp_path / "deploy", Path("alembic.ini")).options == ""
    with pytest.raises(Error, match=r"There is no file .*other.ini"):
        find(tmp_path, Path("other.ini"))


def test_an_ini_file_beside_its_env_py(tmp_path: Path) -> None:
    write(tmp_path, **{"migrations/alembic_ini": "[alembic]\n[loggers]\nkeys = root\n"})
    assert find(tmp_path).env == tmp_path / "migrations" / "env.py"


def test_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(Error) as raised:
        find(tmp_path)
    assert "neither alembic.ini nor a pyproject.toml with [tool.alembic]" in raised.value.message
    assert "alembic init" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("alembic_ini", "[alembic]\nscript_location = elsewhere\n", "no env.py"),
        ("alembic_ini", "[alembic]\nscript_location = nowhere:migrations\n", "no env.py"),
        ("alembic_ini", "[loggers]\nkeys = root\n", "names no script_location in .alembic."),
        ("alembic_ini", "[alembic]\nscript_location = %(home)s/x\n", "cannot be read as Alembic"),
        ("alembic_ini", "script_location = x\n", "cannot be read as Alembic"),
        ("pyproject_toml", "[tool.alembic\n", "cannot be read"),
        ("pyproject_toml", "[tool.alembic]\nscript_location = '%(home)s/x'\n", "cannot be read"),
    ],
)
def test_what_alembic_could_not_read_either(
    file: str, text: str, said: str, tmp_path: Path
) -> None:
    write(tmp_path, **{file: text})
    with pytest.raises(Error, match=said):
        find(tmp_path)
