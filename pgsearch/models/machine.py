"""What a machine gives to a model: devices, processes, requests at a time.

None of it changes a vector, so none of it is declared: it is read from the environment of the
process that loads a model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pgsearch.errors import ModelUnavailable


@dataclass(frozen=True)
class Machine:
    """The settings that are of the machine and not of the model.

    Args:
        devices: PGSEARCH_DEVICE: where a local model computes, as in `cuda:1` or
            `cuda:0,cuda:1`; empty for a GPU if there is one.
        processes: PGSEARCH_PROCESSES: how many processes a local model computes in.
        requests: PGSEARCH_REQUESTS: how many requests an endpoint gets at a time.
        request_texts: PGSEARCH_REQUEST_TEXTS: the most texts in a request.
        timeout_s: PGSEARCH_REQUEST_TIMEOUT: seconds that an endpoint may be silent.
    """

    devices: tuple[str, ...] = ()
    processes: int = 1
    requests: int = 4
    request_texts: int = 256
    timeout_s: float = 60

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Return the settings of this process; what is not set has its default.

        Raises:
            ModelUnavailable: One is not a number of 1 or more.
        """
        found = os.environ if environment is None else environment
        devices = [name.strip() for name in found.get("PGSEARCH_DEVICE", "").split(",")]
        known = tuple(name for name in devices if name)
        return cls(
            devices=known,
            processes=_number(found, "PGSEARCH_PROCESSES", max(1, len(known))),
            requests=_number(found, "PGSEARCH_REQUESTS", cls.requests),
            request_texts=_number(found, "PGSEARCH_REQUEST_TEXTS", cls.request_texts),
            timeout_s=_number(found, "PGSEARCH_REQUEST_TIMEOUT", int(cls.timeout_s)),
        )


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= 100_000):
        raise ModelUnavailable(
            f"The environment variable {name} is {text!r}, not a whole number from 1 on.",
            hint=f"Set it to a number such as {default}, or leave it out.",
        )
    return int(text)
