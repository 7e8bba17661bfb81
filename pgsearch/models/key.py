"""The key of an endpoint: from the environment to the request, and nowhere else."""

from __future__ import annotations

import os
import re
from typing import Final

from pgsearch.errors import ModelUnavailable

#: What stands where a key stood.
REDACTED: Final = "[key]"

#: As many characters of a key in a row are not shown; an endpoint may quote a part of it.
_SHOWN_CHARS: Final = 8


class Key:
    """A key that only the endpoint gets to see.

    Args:
        value: The key; None where an endpoint takes none.
    """

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Key(…)"

    @property
    def is_set(self) -> bool:
        """Whether there is a key."""
        return self._value is not None

    def headers(self, host: str) -> dict[str, str]:
        """Return the headers that carry it to a host; Azure has one of its own."""
        if self._value is None:
            return {}
        headers = {"Authorization": f"Bearer {self._value}"}
        if host.endswith((".azure.com", ".azure-api.net")):
            headers["api-key"] = self._value
        return headers

    def redact(self, text: str) -> str:
        """Return a text without the words that show the key or a part of it."""
        if self._value is None:
            return text
        size = min(_SHOWN_CHARS, len(self._value))
        parts = {self._value[at : at + size] for at in range(len(self._value) - size + 1)}
        return re.sub(
            r"\S+",
            lambda word: REDACTED if any(part in word[0] for part in parts) else word[0],
            text,
        )


def read(variable: str | None, model_name: str, *, required: bool) -> Key:
    """Return the key that an environment variable holds; none of none.

    Raises:
        ModelUnavailable: It is not set although it is required, or cannot be sent in a header.
    """
    if variable is None:
        return Key(None)
    # A line that ends a file of secrets is easily taken along.
    value = os.environ.get(variable, "").strip()
    if not value:
        if not required:
            return Key(None)
        raise ModelUnavailable(
            f"Model {model_name!r} needs a key: the environment variable {variable} is not set.",
            hint=f"Set {variable} where this runs; its declaration names it as key_variable.",
        )
    if not re.fullmatch(r"[!-~]+", value):
        raise ModelUnavailable(
            f"The environment variable {variable} holds what cannot be a key: it has spaces, "
            "or characters outside of ASCII.",
            hint=f"Set {variable} to the key of model {model_name!r} and nothing else.",
        )
    return Key(value)
