"""How the database takes a query apart, and what an encoder learns from."""

from __future__ import annotations

import random

import pytest

from pgsearch import database as product
from pgsearch.encoder.texts import pieces

#: Texts of all kinds, and their words.
TAKEN_APART = {
    "How do I read a file?": ["how", "do", "i", "read", "a", "file"],
    "getUserName(parse_json) C++ c# .net": [
        "get", "user", "name", "parse", "json", "c++", "c#", "net",
    ],
    "XMLParser self.assertEqual(a,b)": ["xmlparser", "self", "assert", "equal", "a", "b"],
    "Crème BRÛLÉE, naïve ﬁne": ["creme", "brulee", "naive", "fine"],
    "I\u0307stanbul \u0130stanbul": ["istanbul", "istanbul"],
    "Größe Ελλάδα Москва": ["große", "ελλαδα", "москва"],
    "don’t “quote”—dash…": ["don", "t", "quote", "dash"],  # noqa: RUF001
    "COVID-19, p53 and 3.14 in 2024": ["covid", "19", "p53", "and", "3", "14", "in", "2024"],
    "東京 で": ["東", "京", "東京", "で"],
    "日本語": ["日", "本", "語", "日本", "本語"],
    "한국어 검색": ["한국어", "검색"],
    "ภาษาไทย ค้นหา": ["ภาษาไทย", "ค้นหา"],
    "हिन्दी खोज।": ["हिन्दी", "खोज"],
    "مرحبا، بالعالم": ["مرحبا", "بالعالم"],
    "ＡＢＣ １２３": ["abc", "123"],  # noqa: RUF001
    "party 🎉🎉 x ≤ 5 €": ["party", "🎉", "🎉", "x", "≤", "5", "€"],
    "": [],
    " \t\n?!…": [],
    "x" * 100: ["x" * 64],
}  # fmt: skip


@pytest.mark.parametrize("text", TAKEN_APART, ids=lambda text: text[:20])
def test_words(installed: product.Connection, text: str) -> None:
    row = installed.execute("SELECT pgsearch.encoder_words(%s)", [text]).fetchone()
    assert row == (TAKEN_APART[text],)


def test_any_text_can_be_taken_apart(installed: product.Connection) -> None:
    """Whatever characters there are, nothing fails, and no word can be taken for a part of one."""
    draw = random.Random(1)
    ranges = [(1, 0x2FF), (0x300, 0x1FFF), (0x2000, 0x33FF), (0x3400, 0xD7FF), (0xE000, 0x1FFFF)]
    for _ in range(300):
        text = "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(40))
        row = installed.execute("SELECT pgsearch.encoder_words(%s)", [text]).fetchone()
        assert row is not None
        assert all(word and not word.startswith("#") for word in row[0])
        again = installed.execute("SELECT pgsearch.encoder_words(%s)", [text.upper()]).fetchone()
        assert again is not None


def test_parts(installed: product.Connection) -> None:
    row = installed.execute("SELECT pgsearch.encoder_parts('word')").fetchone()
    assert row is not None
    assert set(row[0]) == {
        "#<wo", "#wor", "#ord", "#rd>", "#<wor", "#word", "#ord>", "#<word", "#word>", "#<word>"
    }  # fmt: skip
    assert installed.execute("SELECT pgsearch.encoder_parts('a')").fetchone() == (["#<a>"],)
    assert installed.execute("SELECT pgsearch.encoder_parts('')").fetchone() == ([],)


def test_texts_to_learn_from_are_as_short_as_queries() -> None:
    passage = "A title\n\nThe first sentence is here. The second one follows it; and more. " * 5
    found = pieces([f"{passage}{n}" for n in range(50)], 400, seed=1)
    assert len(found) == len(set(found)) <= 400
    assert {"A title", "The first sentence is here."} <= set(found)
    assert any(text.startswith("sentence is") for text in found)
    assert max(map(len, found)) <= 400
    assert found == pieces([f"{passage}{n}" for n in range(50)], 400, seed=1)
    assert pieces([], 100, seed=1) == []
    unspaced = pieces(["東京都で言語を学ぶ方法" * 50], 50, seed=1)
    assert len(unspaced) > 10
    assert max(map(len, unspaced)) <= 40
