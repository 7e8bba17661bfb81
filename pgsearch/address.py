"""The address of an HTTP endpoint, as declarations and environments write it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

#: The name of an environment variable that may stand for an address.
VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")

#: The name of one that holds a key. People write the key itself in its place, and keys have
#: small letters, or signs, or no underscore.
KEY_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")

_SECRET_PARAMETER: Final = re.compile(r"(?i)key|token|secret|passw|signature|^(sig|code)$")


def flaw(url: str) -> str | None:
    """Return why an address cannot be used, without quoting it; None if it can.

    One that carries a key or a password is refused: it would lie in migrations, in the
    registry and in every message that names it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is malformed"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "does not start with http:// or https:// and a host"
    if "@" in parts.netloc:
        return "holds a user name or a password"
    if any(_SECRET_PARAMETER.search(name) for name, _ in _parameters(parts)):
        return "holds a key or a password in its parameters"
    if not re.fullmatch(r"[!-~]+", url):
        return "has characters that an address cannot have"
    return None


def join(url: str, path: str) -> str:
    """Return the address of a path below another, unless it ends in that path already."""
    parts = urlsplit(url)
    base = parts.path.rstrip("/")
    whole = base if base.endswith(path) else base + path
    return urlunsplit(parts._replace(path=whole, fragment=""))


def host(url: str) -> str:
    """Return the host of an address, in lower case."""
    return urlsplit(url).hostname or ""


def _parameters(parts: SplitResult) -> list[tuple[str, str]]:
    return parse_qsl(parts.query, keep_blank_values=True)
