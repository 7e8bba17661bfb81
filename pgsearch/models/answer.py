"""What an embeddings endpoint answers, read into vectors."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pgvector import Vector

from pgsearch.declare import Model
from pgsearch.errors import EmbeddingFailed, ModelMismatch
from pgsearch.models.protocol import wrong_dimensions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: The values of one vector.
Values: TypeAlias = "npt.NDArray[np.floating[Any]]"

#: A vector whose length differs from 1 by less is of length 1.
_UNIT: Final = 1e-4


class Unreadable(ValueError):
    """An answer that is not of the form that the API has."""


def vectors(answer: Any, texts: Sequence[str], model: Model) -> list[Vector]:
    """Return the vectors of an answer, one per text, in the order of the texts.

    Args:
        answer: The JSON of the answer.
        texts: What was asked for.
        model: Says how long vectors are, and whether they are cut and scaled to length 1.

    Raises:
        Unreadable: The answer has another form.
        ModelMismatch: Its vectors are of another length than declared, or it cannot be told
            which text each belongs to.
        EmbeddingFailed: A vector is all zeros or not finite.
    """
    try:
        rows = answer["data"]
        found = [(row.get("index"), _values(row["embedding"])) for row in rows]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    values = _ordered(found, len(texts), model.name)
    return [_vector(each, text, model) for each, text in zip(values, texts, strict=True)]


def _values(embedding: Any) -> Values:
    """Return the values of one vector: of base64 the float32 in it, little endian."""
    import numpy as np

    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), dtype="<f4")
    values = np.array(embedding, dtype=np.float32)
    if values.ndim != 1:
        raise ValueError("a vector is not a list of numbers")
    return values


def _ordered(found: Sequence[tuple[Any, Values]], count: int, model_name: str) -> list[Values]:
    """Return vectors by their numbers; servers may answer in any order."""
    numbers = [number for number, _ in found]
    if len(found) != count:
        raise ModelMismatch(
            f"Model {model_name!r} answered {count} texts with {len(found)} vectors.",
            hint="Nothing was written: it cannot be told which text each belongs to. Look at "
            "the endpoint; with PGSEARCH_REQUEST_TEXTS=1 it gets one text at a time.",
        )
    if all(number is None for number in numbers):
        return [values for _, values in found]
    by_number = dict(found)
    if by_number.keys() != set(range(count)):
        raise ModelMismatch(
            f"Model {model_name!r} numbered the vectors of {count} texts {numbers[:8]}.",
            hint="Nothing was written: it cannot be told which text each belongs to. Look at "
            "the endpoint; with PGSEARCH_REQUEST_TEXTS=1 it gets one text at a time.",
        )
    return [by_number[number] for number in range(count)]


def _vector(values: Values, text: str, model: Model) -> Vector:
    import numpy as np

    if model.truncate and len(values) > model.dimensions:
        # Not every server knows how to do it.
        values = values[: model.dimensions]
    if len(values) != model.dimensions:
        raise wrong_dimensions(model, len(values))
    wide = values.astype(np.float64)
    length = math.sqrt(wide @ wide)
    if not math.isfinite(length) or length == 0:
        raise EmbeddingFailed(
            f"Model {model.name!r} made a vector that is all zeros or not finite from the text "
            f"{text[:60]!r}.",
            hint="Look at the text and, if every text fails, at the endpoint.",
        )
    if model.normalize and abs(length - 1) > _UNIT:
        values = wide / length
    return Vector(values)


def words(value: Any) -> str:
    """Return what an error says, from any of the forms that servers give it."""
    if isinstance(value, Mapping):
        for name in ("error", "message", "detail", "msg"):
            if value.get(name):
                return words(value[name])
    if isinstance(value, list) and value:
        return words(value[0])
    return value if isinstance(value, str) else repr(value)
