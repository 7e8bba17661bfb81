"""A model proves who it is before it writes.

Another model of equal dimensions, or the same one with other prompts, fits the
column and ruins the search without an error. So the vectors of a few fixed
texts are kept from the day a model is registered, and asked for again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from pgsearch.errors import Error, ModelMismatch, ModelUnavailable
from pgsearch.models.protocol import Embedder

#: The texts asked for. To change one is to make every registered fingerprint useless.
PROBES: Final = (
    "The committee will publish its annual report on river pollution in October.",
    "How do I reset my password if I no longer have access to my phone?",
    "def total(prices: list[float]) -> float: return sum(prices) * 1.19",
)

#: Half precision or other hardware turn a vector by less than this (cosine above 0.9999 with
#: all-MiniLM-L6-v2); another model or prompt, or weights cut to 8 bits, by more (below 0.99).
MIN_COSINE: Final = 0.995


def fingerprint(embedder: Embedder, *, model_name: str) -> list[list[float]]:
    """Return the document vectors of the probes: one list of `dimensions` values each.

    Args:
        embedder: The model as loaded here.
        model_name: Its name, for the message.

    Raises:
        ModelUnavailable: It failed on them in a way of its own.
    """
    try:
        return [vector.to_list() for vector in embedder.embed_documents(PROBES)]
    except Error:
        raise
    except Exception as error:
        raise ModelUnavailable(
            f"Model {model_name!r} failed on the probe texts: {type(error).__name__}: {error}",
            hint="They are three short texts in English, which every text model can take.",
        ) from error


def verify(embedder: Embedder, expected: Sequence[Sequence[float]], *, model_name: str) -> None:
    """Raise unless a model reproduces the fingerprint it was registered with.

    Args:
        embedder: The model as loaded here.
        expected: What `fingerprint` returned when the model was registered.
        model_name: The model's name, for the message.

    Raises:
        ModelMismatch: It does not; nothing may be written with it.
        ModelUnavailable: It failed on the probe texts.
    """
    found = fingerprint(embedder, model_name=model_name)
    if [len(vector) for vector in found] != [len(vector) for vector in expected]:
        raise ModelMismatch(
            f"Model {model_name!r} as loaded here is not the one registered under that name: "
            f"it answers the probe texts with {_shape(found)}, registered are {_shape(expected)}.",
            hint=_HINT,
        )
    lowest = min(_cosine(a, b) for a, b in zip(found, expected, strict=True))
    # Written so that NaN, which compares as false, is refused too.
    if not lowest >= MIN_COSINE:
        raise ModelMismatch(
            f"Model {model_name!r} as loaded here is not the one registered under that name: "
            f"its vectors of the probe texts have a cosine of {lowest:.4f} to the registered "
            f"ones, where the same model reaches {MIN_COSINE} or more.",
            hint=_HINT,
        )


_HINT = (
    "Load the model that was registered: same name or path, same revision, same prompts. "
    "If the model was changed on purpose, declare it as a new Embedding beside the old one."
)


def _shape(vectors: Sequence[Sequence[float]]) -> str:
    lengths = sorted({len(vector) for vector in vectors})
    return f"{len(vectors)} vectors of {' or '.join(map(str, lengths)) or 'no'} dimensions"


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the cosine of two vectors; 0 if one of them has no direction."""
    lengths = math.hypot(*a) * math.hypot(*b)
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0
