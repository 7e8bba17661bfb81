"""Pairs of words, and words drawn: what an encoder learns beside single words and passages."""

from __future__ import annotations

import numpy as np
import pytest

from pgsearch.encoder.pairs import Pairs, frequent_pairs, vectors_of_pairs
from pgsearch.encoder.texts import drawn
from pgsearch.encoder.tokens import Vocabulary

FRAME = ["read", "a", "data", "frame"]
KNOWN = Vocabulary(["read", "data", "frame", "set"], ["#<re"])


def pairs_of(
    documents: list[int], words: list[list[str]], at_least: int = 1, most: int = 9
) -> list[str]:
    return frequent_pairs(documents, words, KNOWN, at_least=at_least, most=most).tokens


def test_pairs_stand_side_by_side_in_three_documents_or_more() -> None:
    set_of = ["data", "set"]
    assert pairs_of([1, 2, 3], [FRAME] * 3) == ["data frame"]
    assert pairs_of([1, 2], [FRAME] * 2) == []
    assert pairs_of([1, 2, 2], [FRAME] * 3) == [], "two passages of one document are one"
    words = [FRAME] * 3 + [set_of] * 4
    assert pairs_of([*range(7)], words) == ["data set", "data frame"]
    assert pairs_of([*range(7)], words, most=1) == ["data set"]
    assert pairs_of([*range(7)], words, at_least=4) == ["data set"]
    assert pairs_of([], []) == []


def test_a_word_twice_and_an_unknown_one_are_no_pair() -> None:
    assert pairs_of([1, 2, 3], [["data", "data", "of", "frame", "or", "set"]] * 3) == []


def test_a_text_s_pairs_by_number() -> None:
    pairs = Pairs([("data", "frame"), ("frame", "set")], first_number=5)
    assert list(pairs.numbers(["a", "data", "frame", "set", "frame", "data"])) == [5, 6]
    assert list(pairs.numbers(["data"])) == list(pairs.numbers([])) == []


def test_a_pair_pulls_the_sum_of_its_words_towards_its_own_vector() -> None:
    table = np.array([[9, 9], [3, 0], [1, 0], [9, 9], [9, 9]], dtype=np.float32)
    made = np.array([[0.6, 0.8]], dtype=np.float32)
    mean = np.array([0.6, 0.3], dtype=np.float32)
    pulled = vectors_of_pairs(table, KNOWN, Pairs([("data", "frame")], 5), made, mean)
    assert pulled == pytest.approx(0.3 * np.array([[0.0 - 4.0, 4.0 - 0.0]]))


WEIGHTS = {"wait": 1.0, "for": 0.001, "queue": 1.0, "lock": 1.0, "x": 1.0, "v2": 1.0}


def test_words_are_drawn_by_weight_in_their_order() -> None:
    passage = "def wait_for(queue, x, v2): lock wait"
    words = [["def", "wait", "for", "queue", "x", "v2", "lock", "wait"]]
    texts = drawn([passage], words, WEIGHTS, 50, seed=1)
    assert texts == drawn([passage], words, WEIGHTS, 50, seed=1)
    assert len(texts) == len(set(texts)) > 5
    order = ["wait", "for", "queue", "v2", "lock"]
    for text in texts:
        found = text.split()
        assert found == [word for word in order if word in found]
        assert len(found) >= 2
    assert "wait queue" in texts
    assert sum("for" in text.split() for text in texts) < len(texts)


def test_a_text_without_blanks_gives_spans() -> None:
    passage = "東京都で言語を学ぶ方法" * 20
    texts = drawn([passage], [list(passage)], dict.fromkeys(passage, 1.0), 20, seed=1)
    assert texts
    assert all(" " not in text and text in passage for text in texts)


def test_nothing_is_drawn_from_nothing() -> None:
    assert drawn([], [], {}, 20, seed=1) == []
    assert drawn([""], [[]], {}, 20, seed=1) == []
