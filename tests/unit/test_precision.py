"""Declared precisions: what they mean, and which pgvector does not have."""

from __future__ import annotations

import pytest
from psycopg.sql import SQL

from pgsearch import Embedding
from pgsearch.errors import DeclarationError
from pgsearch.precision import MAX_DIMENSIONS
from pgsearch.schema import graph
from pgsearch.testing import hash_model

DECLARED = {
    "default": ({}, "vector(384)", "e", "vector_cosine_ops"),
    "half": ({"type": "halfvec"}, "halfvec(384)", "e", "halfvec_cosine_ops"),
    "half graph": (
        {"index": "halfvec"},
        "vector(384)",
        "(e::halfvec(384))",
        "halfvec_cosine_ops",
    ),
    "bits": (
        {"index": "bit"},
        "vector(384)",
        "(binary_quantize(e)::bit(384))",
        "bit_hamming_ops",
    ),
    "bits of halves": (
        {"type": "halfvec", "index": "bit"},
        "halfvec(384)",
        "(binary_quantize(e)::bit(384))",
        "bit_hamming_ops",
    ),
}


@pytest.mark.parametrize("case", DECLARED.values(), ids=DECLARED)
def test_column_and_graph(case: tuple[dict[str, str], str, str, str]) -> None:
    declared, column_type, indexed, operator_class = case
    precision = Embedding("any", hash_model(384), **declared).precision
    assert precision.column_type == column_type
    assert graph.indexed(precision, SQL("e")).as_string(None) == indexed
    assert precision.operator_class == operator_class
    assert precision.is_default == (declared == {})


@pytest.mark.parametrize("type_", ["vector", "halfvec"])
def test_the_column_s_own_need_not_be_said(type_: str) -> None:
    said = Embedding("any", hash_model(64), type=type_, index=type_)
    assert said == Embedding("any", hash_model(64), type=type_)
    assert said.index is None


REFUSED = {
    "another type": ({"type": "bit"}, "type='bit' is unknown", "'vector', 'halfvec'"),
    "another graph": ({"index": "sparsevec"}, "index='sparsevec' is unknown", "leave it out"),
    "a finer graph": (
        {"type": "halfvec", "index": "vector"},
        "no more exact",
        "Leave index out, or write index='bit', or type='vector'",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_pgvector_has_not(case: tuple[dict[str, str], str, str]) -> None:
    declared, message, hint = case
    with pytest.raises(DeclarationError, match=message) as refused:
        Embedding("any", hash_model(64), **declared)
    assert refused.value.hint is not None
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("declared", "most", "larger"),
    [
        ({}, 2000, "index='halfvec' (up to 4000) or index='bit' (up to 64000)"),
        ({"type": "halfvec"}, 4000, "index='bit' (up to 64000)"),
        ({"index": "halfvec"}, 4000, "index='bit' (up to 64000)"),
    ],
)
def test_a_graph_takes_so_many_dimensions(declared: dict[str, str], most: int, larger: str) -> None:
    Embedding("any", hash_model(most), **declared)
    with pytest.raises(DeclarationError, match=f"takes {most} at most") as refused:
        Embedding("any", hash_model(most + 1), **declared)
    assert refused.value.hint is not None
    assert larger in refused.value.hint


def test_bits_take_as_many_as_a_column() -> None:
    for type_ in ("vector", "halfvec"):
        Embedding("any", hash_model(MAX_DIMENSIONS), type=type_, index="bit")
