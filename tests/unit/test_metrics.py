"""The metrics, against figures that ir-measures 0.4.3 (pytrec_eval) gives, and their laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsearch.errors import Error
from pgsearch.evaluate.metrics import (
    ndcg,
    overlap,
    randomization_p,
    rank_biased_overlap,
    recall,
    reciprocal_rank,
)

GRADED = {"d1": 3, "d2": 2, "d3": 3, "d4": 0, "d5": 1, "d6": 2, "d7": 3, "d8": 2}
MANY = {f"r{i}": 1 + i % 3 for i in range(15)}

#: A ranking, its judgements, and what ir-measures says of them:
#: nDCG@3, nDCG@10, R@3, R@10, RR@2, RR@10.
FIGURES = {
    "graded": (
        ["d1", "d2", "d3", "d4", "d5", "d6"],
        GRADED,
        (0.901306029678, 0.756164029817, 0.428571428571, 0.714285714286, 1.0, 1.0),
    ),
    "third": (["p", "q", "x", "r"], {"x": 1}, (0.5, 0.5, 1.0, 1.0, 0.0, 0.333333333333)),
    "nothing found": (["p", "q", "r"], {"x": 1, "y": 1, "z": 2}, (0.0,) * 6),
    "nothing relevant": (["x", "y"], {"x": 0}, (0.0,) * 6),
    "more relevant than k": (
        [f"r{i}" if i % 2 else f"n{i}" for i in range(30)],
        MANY,
        (0.197387940644, 0.305855877392, 0.066666666667, 0.333333333333, 0.5, 0.5),
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_ir_measures(name: str) -> None:
    ranked, judged, expected = FIGURES[name]
    found = (
        ndcg(ranked, judged, 3),
        ndcg(ranked, judged),
        recall(ranked, judged, 3),
        recall(ranked, judged, 10),
        reciprocal_rank(ranked, judged, 2),
        reciprocal_rank(ranked, judged, 10),
    )
    assert found == pytest.approx(expected, abs=1e-11)


def test_a_negative_grade_is_not_relevant() -> None:
    judged = {"spam": -2, "good": 1}
    assert ndcg(["spam", "good"], judged) == ndcg(["other", "good"], judged)
    assert recall(["spam", "good"], judged, 1) == 0
    assert reciprocal_rank(["spam", "good"], judged, 2) == 0.5


def test_a_ranking_of_passages_is_refused() -> None:
    with pytest.raises(Error, match="'a' twice"):
        ndcg(["a", "b", "a"], {"a": 1})


def test_k_below_one_is_refused() -> None:
    with pytest.raises(Error, match="first 0 documents"):
        recall(["a"], {"a": 1}, 0)


rankings = st.lists(st.integers(0, 30), unique=True, max_size=25)
judgements = st.dictionaries(st.integers(0, 30), st.integers(0, 4), max_size=25)
depths = st.integers(1, 30)


@given(rankings, judgements, depths)
def test_every_metric_is_between_0_and_1(ranked: list[int], judged: dict[int, int], k: int) -> None:
    for metric in (ndcg, recall, reciprocal_rank):
        assert 0 <= metric(ranked, judged, k) <= 1 + 1e-12


@given(judgements.filter(lambda judged: any(judged.values())), depths)
def test_the_ideal_ranking_scores_1(judged: dict[int, int], k: int) -> None:
    ideal = sorted(judged, key=lambda document: -judged[document])
    assert ndcg(ideal, judged, k) == pytest.approx(1)
    assert reciprocal_rank(ideal, judged, k) == 1
    assert recall(ideal, judged, len(ideal)) == 1


@given(rankings.filter(lambda ranked: len(ranked) > 1), judgements, st.data())
def test_moving_the_better_document_up_never_lowers_ndcg(
    ranked: list[int], judged: dict[int, int], data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, len(ranked) - 2))
    first, second = ranked[position : position + 2]
    swapped = [*ranked[:position], second, first, *ranked[position + 2 :]]
    if judged.get(first, 0) >= judged.get(second, 0):
        ranked, swapped = swapped, ranked
    assert ndcg(swapped, judged, 10) >= ndcg(ranked, judged, 10) - 1e-12


@given(rankings, judgements, st.integers(1, 29))
def test_recall_grows_with_k(ranked: list[int], judged: dict[int, int], k: int) -> None:
    assert recall(ranked, judged, k) <= recall(ranked, judged, k + 1)


#: Two rankings, and what the package rbo 0.1.3 says of them with p = .9 and with p = .5.
ALIKE = {
    "shuffled": ("abcdefg", "bacdxyz", 0.6394345714285714, 0.4818452380952381),
    "equal": ("abcdefghij", "abcdefghij", 1.0, 1.0),
    "apart": ("abc", "xyz", 0.0, 0.0),
    "turned round": ("abcdefghij", "jihgf", 0.2558037828214286, 0.00814577132936508),
    "longer": ("abc", "cabdefgh", 0.855, 0.375),
}


@pytest.mark.parametrize("name", ALIKE)
def test_figures_of_the_package_rbo(name: str) -> None:
    one, other, patient, hasty = ALIKE[name]
    assert rank_biased_overlap(one, other) == pytest.approx(patient, abs=1e-12)
    assert rank_biased_overlap(other, one, 0.5) == pytest.approx(hasty, abs=1e-12)


def test_nothing_is_like_nothing() -> None:
    assert overlap([], []) == rank_biased_overlap([], []) == 1
    assert overlap(["a"], []) == rank_biased_overlap(["a"], []) == 0


def test_overlap_looks_at_the_first_k() -> None:
    assert overlap("abcd", "badx", 3) == pytest.approx(2 / 3)
    assert overlap("ab", "abc", 10) == pytest.approx(2 / 3)


@given(rankings, rankings)
def test_likeness_is_between_0_and_1_and_mutual(one: list[int], other: list[int]) -> None:
    for likeness in (overlap, rank_biased_overlap):
        assert 0 <= likeness(one, other) <= 1 + 1e-12
        assert likeness(one, other) == pytest.approx(likeness(other, one))
        assert likeness(one, one) == pytest.approx(1)


def test_p_is_that_of_all_signs() -> None:
    """scipy's permutation test over all assignments gives .0390625."""
    differences = [0.1, 0.2, -0.05, 0, 0.3, 0.12, -0.02, 0.4, 0.05, 0.01]
    assert randomization_p(differences) == pytest.approx(0.0390625, abs=0.006)
    assert randomization_p([-value for value in differences]) == randomization_p(differences)


def test_no_difference_is_no_evidence() -> None:
    assert randomization_p([]) == randomization_p([0.0, 0.0]) == randomization_p([0.5, -0.5]) == 1
    assert randomization_p([0.1] * 40) < 0.001
