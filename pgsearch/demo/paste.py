"""What the demo leaves to its user: how to reach the database, and SQL to try there."""

from __future__ import annotations

import re
import shlex
import shutil

from pgsearch import embedded, resources
from pgsearch.errors import DatabaseError

#: A line of this many characters fits the screen when it is indented.
_WIDTH = 96


def statements() -> list[str]:
    """Return SQL to paste into psql."""
    return resources.sql("demo/paste.sql").strip().split("\n\n")


def psql_command(uri: str, *, is_embedded: bool) -> str:
    """Return the command that opens psql on a database, for a shell; a long one has two lines.

    Args:
        uri: The database.
        is_embedded: Whether it is the embedded server's, whose own psql is used then.
    """
    program = None if is_embedded else shutil.which("psql")
    if program is None:
        try:
            program = str(embedded.psql())
        except DatabaseError:
            program = "psql"
    command = shlex.join([program, uri])
    return command if len(command) <= _WIDTH else command.replace(" ", " \\\n  ", 1)


def without_password(uri: str) -> str:
    """Return a URI without its password, for which psql asks: what is printed may be kept."""
    place, _, options = re.sub(r"(?<=//)([^:/@]*):[^/@]*@", r"\1@", uri).partition("?")
    kept = [option for option in options.split("&") if not option.startswith("password=")]
    return f"{place}?{'&'.join(kept)}" if any(kept) else place
