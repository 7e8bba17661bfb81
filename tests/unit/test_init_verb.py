"""`pgsearch init` on projects: what it shows, writes and refuses. No database is needed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.plugins.project import QUIET, Project, begin

TABLE = ("--table", "article", "--text", "title:A", "--text", "body:B")
MODEL = (
    "--model",
    "sentence-transformers/all-MiniLM-L6-v2",
    "--revision",
    "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    "--dimensions",
    "384",
)
DECLARED = '''\
"""What is searched, and how: the search indexes of this project."""

from pgsearch import Embedding, Model, SearchIndex

from shop.models import Article

article_search = SearchIndex(
    "article_search",
    Article.__table__,
    text={"title": "A", "body": "B"},
    embeddings=[
        Embedding(
            "all_minilm_l6_v2",
            Model(
                "sentence-transformers/all-MiniLM-L6-v2",
                revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
                dimensions=384,
            ),
        ),
    ],
)
'''


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return begin(tmp_path, "generic")


def said(done: Result) -> dict[str, str]:
    """Return the lines of standard error that have a head, as `error: …`, by it."""
    return {
        head: text
        for head, colon, text in (line.partition(": ") for line in done.stderr.splitlines())
        if colon
    }


def on_a_terminal(
    project: Project, answer: str, meanwhile: Callable[[], object] = lambda: None
) -> tuple[int, str]:
    """Run it on a terminal, where somebody answers; return its exit status and what was seen.

    Args:
        meanwhile: What happens while it waits for the answer.
    """
    mine, its = pty.openpty()
    program = Path(sys.executable).with_name("pgsearch")
    environment = {**os.environ, **QUIET, "TERM": "xterm"}
    with subprocess.Popen(
        [program, "init"], cwd=project.folder, env=environment, stdin=its, stdout=its, stderr=its
    ) as running:
        os.close(its)
        seen = b""
        while b"Write this?" not in seen:
            seen += os.read(mine, 1024)
        meanwhile()
        os.write(mine, f"{answer}\n".encode())
        try:
            while piece := os.read(mine, 1024):
                seen += piece
        except OSError:  # that is how a terminal ends on Linux
            pass
    os.close(mine)
    return running.returncode, seen.decode()


def test_it_declares_and_says_what_comes_next(project: Project) -> None:
    before = project.files()
    done = project.init("--yes", *TABLE, *MODEL)
    assert done.exit_code == 0, done.stderr
    after = project.files()
    assert after.pop("shop/search.py").decode() == DECLARED
    assert {name for name in after if after[name] != before[name]} == {"migrations/env.py"}
    assert after.keys() == before.keys()
    env = after["migrations/env.py"].decode()
    assert "target_metadata = Base.metadata\nimport shop.search  # noqa: E402, F401" in env
    assert done.stderr.splitlines()[-6:] == [
        "",
        "Next:",
        '  alembic revision --autogenerate -m "search on article"',
        "  alembic upgrade head",
        "  pgsearch --database postgresql://… sync",
        "For pgsearch.search(), the application imports shop.search too.",
    ]


def test_the_second_time_there_is_nothing_to_do(project: Project) -> None:
    for arguments in ((), (*TABLE, *MODEL)):
        assert project.init("--yes", *arguments).exit_code == 0
        files = project.files()
        again = project.init(*arguments)
        assert (again.exit_code, again.stdout) == (0, "")
        assert "\nNothing to do.\n" in again.stderr
        assert project.files() == files


def test_the_diff_is_what_is_written(project: Project, tmp_path: Path) -> None:
    files = project.files()
    shown = project.init("--diff", *TABLE)
    assert shown.exit_code == 0
    assert project.files() == files
    subprocess.run(["git", "apply"], input=shown.stdout, cwd=tmp_path, check=True, text=True)
    applied = project.files()
    for name in applied:
        Path(tmp_path, name).unlink()
    for name, content in files.items():
        Path(tmp_path, name).write_bytes(content)
    assert project.init("--yes", *TABLE).stdout == shown.stdout
    assert project.files() == applied


def test_without_a_terminal_it_does_not_write(project: Project) -> None:
    files = project.files()
    done = project.init(*TABLE)
    assert done.exit_code == 1
    assert "+++ b/shop/search.py" in done.stdout
    assert said(done)["hint"] == "Run it with --yes to write this, or with --diff only to see it."
    assert project.files() == files


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_on_a_terminal_it_asks(project: Project, answer: str) -> None:
    files = project.files()
    status, seen = on_a_terminal(project, answer)
    assert "\x1b[32m+        transaction_per_migration=True,\r\n" in seen
    assert "\x1b[1m+++ b/migrations/env.py" in seen
    if answer == "y":
        assert status == 0
        assert "Wrote migrations/env.py." in seen
        assert project.files() != files
    else:
        assert status == 1
        assert "Nothing was written." in seen
        assert project.files() == files


def test_what_was_changed_while_it_asked_is_not_overwritten(project: Project) -> None:
    status, seen = on_a_terminal(project, "y", lambda: project.env.write_text("mine = 1\n"))
    assert status == 1
    assert "env.py has changed since the diff was made; nothing was written." in seen
    assert project.env.read_text() == "mine = 1\n"


def test_line_endings_are_kept(project: Project) -> None:
    text = project.env.read_bytes()
    project.env.write_bytes(text.replace(b"\n", b"\r\n"))
    assert project.init("--yes", *TABLE).exit_code == 0
    for name in ("migrations/env.py", "shop/search.py"):
        content = (project.folder / name).read_bytes()
        assert content.count(b"\n") == content.count(b"\r\n") > 0


def test_a_file_that_is_there_is_not_overwritten(project: Project) -> None:
    (project.folder / "shop" / "search.py").write_text("mine = 1\n")
    files = project.files()
    done = project.init("--yes", *TABLE)
    assert done.exit_code == 1
    assert "search.py already, and pgsearch overwrites none." in said(done)["error"]
    assert "--module" in said(done)["hint"]
    assert project.files() == files
    done = project.init("--yes", *TABLE, "--module", "shop/indexes.py")
    assert done.exit_code == 0
    assert b"import shop.indexes  #" in project.env.read_bytes()
    assert project.files()["shop/search.py"] == b"mine = 1\n"


def test_an_import_that_was_lost_is_put_back(project: Project) -> None:
    env = project.env.read_bytes()
    assert project.init("--yes", *TABLE).exit_code == 0
    written = project.files()
    project.env.write_bytes(env)
    done = project.init("--yes", *TABLE)
    assert done.exit_code == 0
    assert "Wrote shop/search.py" not in done.stderr
    assert project.files() == written


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (("--table", "articel", "--text", "title:A"), "no table 'articel'", "They have article."),
        (("--table", "article"), "Which columns of table 'article'", "it has id, title, body."),
        (("--table", "article", "--text", "titel:A"), "has no column 'titel'", "'title'"),
        (("--table", "article", "--text", "title:X"), "'X'", "A"),
        ((*TABLE, "--model", "a/b", "--dimensions", "9"), "has no revision", "revision="),
        ((*TABLE, "--module", "nowhere/search.py"), "There is no folder", "--module"),
        ((*TABLE, "--module", "shop/my-search.py"), "could not import", "--module"),
    ],
)
def test_what_cannot_be_declared_is_said_before_anything_is_written(
    project: Project, arguments: tuple[str, ...], error: str, hint: str
) -> None:
    files = project.files()
    done = project.init("--yes", *arguments)
    assert done.exit_code == 1
    assert error in said(done)["error"]
    assert hint in said(done)["hint"]
    assert project.files() == files


@pytest.mark.parametrize(
    "arguments",
    [
        ("--text", "title:A"),
        ("--model", "a/b", "--dimensions", "9"),
        ("--table", "article", "--text", "title"),
        (*TABLE, "--dimensions", "9"),
        (*TABLE, "--model", "a/b"),
        ("--module", "shop/search.py"),
    ],
)
def test_options_that_do_not_go_together(project: Project, arguments: tuple[str, ...]) -> None:
    assert project.init("--yes", *arguments).exit_code == 2


def test_another_declaration_of_that_name_is_left_alone(project: Project) -> None:
    assert project.init("--yes", *TABLE).exit_code == 0
    done = project.init("--yes", *TABLE, *MODEL)
    assert done.exit_code == 1
    assert "declares the search index 'article_search' already" in said(done)["error"]


def test_an_env_py_that_cannot_be_run_is_said(project: Project) -> None:
    with project.env.open("a") as file:
        file.write("import shop.missing\n")
    done = project.init("--yes", *TABLE)
    assert done.exit_code == 1
    assert "ModuleNotFoundError: No module named 'shop.missing'" in done.stderr
    assert "alembic check" in said(done)["hint"]


@pytest.mark.parametrize(
    ("models", "declared"),
    [
        # A table of Core, imported by a module that is loaded before its own is.
        (
            {
                "shop/early.py": "from shop.tables import article\n",
                "shop/models.py": "from shop.tables import article, Base, Other\n",
                "shop/tables.py": (
                    "import sqlalchemy as sa\n\n\nclass Base:\n    metadata = sa.MetaData()\n\n\n"
                    "Other = Base\narticle: sa.Table = sa.Table('article', Base.metadata, "
                    "sa.Column('id', sa.Integer, primary_key=True), sa.Column('title', sa.Text), "
                    "sa.Column('body', sa.Text))\nimport shop.early\n"
                ),
            },
            ("shop/search.py", "from shop.tables import article\n", "    article,\n"),
        ),
        # A table without a name of its own, in a schema.
        (
            {
                "shop/models.py": (
                    "import sqlalchemy as sa\nfrom sqlalchemy.orm import DeclarativeBase\n\n\n"
                    "class Base(DeclarativeBase):\n    pass\n\n\nOther = Base\nsa.Table('article', "
                    "Base.metadata, sa.Column('id', sa.Integer, primary_key=True), "
                    "sa.Column('title', sa.Text), sa.Column('body', sa.Text), schema='my shop')\n"
                ),
            },
            (
                "shop/search.py",
                "from shop.models import Base\n",
                '    Base.metadata.tables["my shop.article"],\n',
            ),
        ),
        # A package of models.
        (
            {
                "shop/models.py": None,
                "shop/models/__init__.py": "from shop.models.article import *\n",
                "shop/models/article.py": "",
            },
            (
                "shop/models/search.py",
                "from shop.models.article import Article\n",
                "    Article.__table__,\n",
            ),
        ),
    ],
    ids=["core", "base", "package"],
)
def test_a_table_is_found_where_it_is_defined(
    project: Project, models: dict[str, str | None], declared: tuple[str, str, str]
) -> None:
    old = (project.folder / "shop" / "models.py").read_text()
    for name, text in models.items():
        path = project.folder / name
        path.parent.mkdir(exist_ok=True)
        path.unlink() if text is None else path.write_text(text or old)
    table = "my shop.article" if "my shop" in declared[2] else "article"
    done = project.init("--yes", "--table", table, "--text", "title:A")
    assert done.exit_code == 0, done.stderr
    file, line, expression = declared
    written = (project.folder / file).read_text()
    assert line in written
    assert expression in written
    again = project.init("--yes", "--table", table, "--text", "title:A")
    assert "Nothing to do." in again.stderr, again.stderr


def test_models_may_print(project: Project) -> None:
    with (project.folder / "shop" / "models.py").open("a") as file:
        file.write("import os\nprint('hello')\nos.system('echo hello')\n")
    assert project.init("--yes", *TABLE).exit_code == 0


def test_models_are_found_as_alembic_finds_them(project: Project) -> None:
    ini = project.folder / "alembic.ini"
    ini.write_text(ini.read_text().replace("prepend_sys_path = .", ""))
    done = project.init("--yes", *TABLE)
    assert done.exit_code == 1
    assert "No module named 'shop'" in said(done)["error"]
    assert project.init("--yes", *TABLE, PYTHONPATH=str(project.folder)).exit_code == 0


def test_an_env_py_without_models_is_said(project: Project) -> None:
    env = project.env.read_text()
    for value, error in (
        ("None", "target_metadata in {} is None: autogenerate sees no models."),
        ("[]", "target_metadata in {} is []: autogenerate sees no models."),
        ("'shop'", "target_metadata in {} holds no MetaData but shop: "),
    ):
        project.env.write_text(env.replace("= Base.metadata", f"= {value}"))
        done = project.init("--yes", *TABLE)
        assert done.exit_code == 1
        assert said(done)["error"].startswith(error.format(project.env))
        assert "target_metadata = Base.metadata" in said(done)["hint"]


def test_an_env_py_that_passes_its_metadata_at_once(project: Project) -> None:
    project.env.write_text(
        "from alembic import context\n\nfrom shop.models import Base\n\n\n"
        "def run():\n    context.configure(target_metadata=Base.metadata)\n\n\nrun()\n"
    )
    assert project.init("--yes", *TABLE).exit_code == 0
    assert project.env.read_text().splitlines()[:4] == [
        "from alembic import context",
        "",
        "from shop.models import Base",
        "import shop.search  # noqa: E402, F401  declares the search indexes",
    ]
    assert "Nothing to do." in project.init(*TABLE).stderr


def test_a_table_in_several_databases_needs_a_name(tmp_path: Path) -> None:
    project = begin(tmp_path, "multidb")
    env = project.env.read_text()
    project.env.write_text(env.replace('"engine2": Other', '"engine2": Base'))
    done = project.init("--yes", *TABLE)
    assert said(done)["error"] == "Several databases have a table 'article': engine1, engine2."
    assert project.init("--yes", *TABLE, "--name", "engine2").exit_code == 0
    project.env.write_text(env.replace('    "engine2": Other.metadata,\n', ""))
    done = project.init("--yes", *TABLE, "--name", "engine2")
    assert said(done)["error"] == "target_metadata has nothing for 'engine2'."


def test_nothing_is_written_into_installed_packages(project: Project) -> None:
    packages = project.folder / "site-packages"
    packages.mkdir()
    (project.folder / "shop").rename(packages / "shop")
    (project.folder / "mine").mkdir()
    ini = project.folder / "alembic.ini"
    text = ini.read_text().replace("prepend_sys_path = .", "prepend_sys_path = .:site-packages")
    ini.write_text(text)
    done = project.init("--yes", *TABLE)
    assert done.exit_code == 1
    assert "shop.models is installed at" in said(done)["error"]
    assert project.init("--yes", *TABLE, "--module", "mine/search.py").exit_code == 0
    assert "import mine.search  #" in project.env.read_text()


def test_a_configuration_elsewhere(project: Project) -> None:
    (project.folder / "alembic.ini").rename(project.folder / "live.ini")
    for given in ({"ALEMBIC_CONFIG": "live.ini"}, {}):
        done = project.init("--yes", *TABLE, *([] if given else ["--config", "live.ini"]), **given)
        assert done.exit_code == 0, done.stderr
        assert f"  alembic --config {project.folder}/live.ini upgrade head\n" in done.stderr


def test_below_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    project = begin(tmp_path / "backend", "pyproject")
    done = Project(tmp_path).init("--yes", *TABLE)
    assert done.exit_code == 0, done.stderr
    assert "  cd backend\n" in done.stderr
    assert "--- a/backend/migrations/env.py" in done.stdout
    assert (project.folder / "shop" / "search.py").exists()


def test_an_env_py_like_flask_migrates(tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "alembic.ini").write_text("[alembic]\n")
    (folder / "env.py").write_text(
        "from alembic import context\nfrom app import db, options\n\n"
        "context.configure(connection=db, target_metadata=get(), **options)\n"
    )
    (folder / "script.py.mako").write_text("# nothing\n")
    done = Project(tmp_path).init("--yes")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.count("by hand: ") == 2
    assert "context.configure() gets arguments from options: add" in done.stderr
    assert "script.py.mako has no `${imports" in done.stderr
    assert "Nothing to write." in done.stderr


def test_without_a_table_it_says_how(project: Project) -> None:
    done = project.init("--yes")
    assert 'article_search = SearchIndex(\n        "article_search",' in done.stderr
    assert "note: env.py: include_object stays as it is" in done.stderr
