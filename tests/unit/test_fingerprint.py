"""A model proves who it is before it writes."""

import math
from collections.abc import Sequence

import pytest
from pgvector import Vector

from pgsearch.errors import ModelMismatch, ModelUnavailable
from pgsearch.models.fingerprint import MIN_COSINE, PROBES, fingerprint, verify
from pgsearch.testing import HashEmbedder


def turned(vector: list[float], cosine: float) -> list[float]:
    """Return a vector that has the given cosine to a unit vector."""
    axis = min(range(len(vector)), key=lambda i: abs(vector[i]))
    other = [-vector[axis] * x for x in vector]
    other[axis] += 1
    length = math.hypot(*other)
    sine = math.sqrt(1 - cosine**2)
    return [cosine * x + sine * y / length for x, y in zip(vector, other, strict=True)]


def test_a_fingerprint_has_one_vector_per_probe() -> None:
    vectors = fingerprint(HashEmbedder(16), model_name="hash")
    assert len(vectors) == len(PROBES) == 3
    assert {len(vector) for vector in vectors} == {16}
    assert vectors == [v.to_list() for v in HashEmbedder(16).embed_documents(PROBES)]


def test_a_model_reproduces_its_own_fingerprint() -> None:
    verify(HashEmbedder(), fingerprint(HashEmbedder(), model_name="hash"), model_name="hash-64")


def test_the_length_of_vectors_does_not_matter() -> None:
    scaled = [[3 * x for x in vector] for vector in fingerprint(HashEmbedder(), model_name="hash")]
    verify(HashEmbedder(), scaled, model_name="hash-64")


def test_a_small_turn_is_accepted_and_a_larger_one_is_not() -> None:
    vectors = fingerprint(HashEmbedder(), model_name="hash")
    verify(HashEmbedder(), [turned(v, MIN_COSINE + 0.001) for v in vectors], model_name="m")
    # One probe is enough.
    vectors[2] = turned(vectors[2], MIN_COSINE - 0.001)
    with pytest.raises(ModelMismatch, match=r"0\.9940"):
        verify(HashEmbedder(), vectors, model_name="m")


def test_another_model_of_equal_dimensions_is_refused() -> None:
    class Impostor(HashEmbedder):
        """Embeds every text as if a prompt stood in front of it."""

        def embed_documents(self, texts):  # type: ignore[no-untyped-def]
            return super().embed_documents([f"passage: {text}" for text in texts])

    with pytest.raises(ModelMismatch) as caught:
        verify(Impostor(), fingerprint(HashEmbedder(), model_name="hash"), model_name="hash-64")
    assert "'hash-64'" in caught.value.message
    assert "cosine" in caught.value.message
    assert caught.value.hint is not None
    assert "same revision" in caught.value.hint


@pytest.mark.parametrize(
    ("expected", "shape"),
    [
        (fingerprint(HashEmbedder(32), model_name="hash"), "3 vectors of 32 dimensions"),
        (fingerprint(HashEmbedder(64), model_name="hash")[:2], "2 vectors of 64 dimensions"),
        ([], "0 vectors"),
    ],
)
def test_other_shapes_are_refused(expected: list[list[float]], shape: str) -> None:
    with pytest.raises(ModelMismatch) as caught:
        verify(HashEmbedder(64), expected, model_name="hash-64")
    assert "3 vectors of 64 dimensions" in caught.value.message
    assert shape in caught.value.message


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_vectors_without_a_direction_are_refused(value: float) -> None:
    with pytest.raises(ModelMismatch):
        verify(HashEmbedder(8), [[value] * 8] * 3, model_name="hash-8")


def test_a_model_that_fails_on_the_probes_cannot_be_used() -> None:
    class Broken(HashEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
            raise RuntimeError("CUDA error: out of memory")

    with pytest.raises(ModelUnavailable, match=r"'big' failed .* RuntimeError: CUDA error: out"):
        fingerprint(Broken(), model_name="big")
