"""How a document's text becomes the passages that are embedded."""

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from pgsearch import Chunking
from pgsearch.models import Embedder
from pgsearch.sync.chunking import content_hash, split
from pgsearch.testing import HashEmbedder

HASH = HashEmbedder()
NO_OVERLAP = Chunking(max_tokens=100, overlap=0)


class ByteTokens(HashEmbedder):
    """Counts with a real byte-level tokenizer: one character may take up to four tokens."""

    def __init__(self, max_tokens: int = 256) -> None:
        super().__init__()
        self.max_tokens = max_tokens
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        self._tokenizer = Tokenizer(models.BPE({byte: n for n, byte in enumerate(alphabet)}, []))
        # Also adds a space in front, so that two texts have more tokens apart than together.
        self._tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        self._tokenizer.decoder = decoders.ByteLevel()

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text))


class Superadditive(HashEmbedder):
    """Takes more tokens for a text than for its parts: every further line costs one more."""

    def count_tokens(self, text: str) -> int:
        return super().count_tokens(text) + text.count("\n") * (text.count("\n") - 1) // 2


texts = st.text(
    alphabet=st.one_of(
        st.sampled_from(list("ab \n\t.,()-é東🙂")),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=2_000,
)
prose = st.lists(
    st.sampled_from(["index", "vector", "a", "PostgreSQL", "(see below)", "end.", "\n", "\n\n"]),
    max_size=600,
).map(" ".join)


@st.composite
def chunkings(draw: st.DrawFn) -> Chunking:
    max_tokens = draw(st.integers(min_value=16, max_value=300))
    return Chunking(max_tokens, draw(st.integers(min_value=0, max_value=max_tokens // 2)))


def visible(text: str) -> list[str]:
    return [character for character in text if not character.isspace()]


def assert_covers(chunks: Sequence[str], text: str) -> None:
    """Walk through the text: each chunk continues where chunks so far end, or before."""
    wanted = visible(text)
    reached = 0
    for chunk in chunks:
        part = visible(chunk)
        start = next(
            (
                at
                for at in range(min(reached, len(wanted)), -1, -1)
                if wanted[at : at + len(part)] == part
            ),
            None,
        )
        assert start is not None, f"{chunk!r} leaves a gap before it or is not in the text"
        reached = max(reached, start + len(part))
    assert reached == len(wanted)


@settings(deadline=None)  # other work on the machine is not a failure
@given(st.one_of(texts, prose), chunkings(), st.sampled_from([HASH, ByteTokens(), ByteTokens(16)]))
def test_nothing_is_lost_and_nothing_is_too_long(
    text: str, chunking: Chunking, embedder: Embedder
) -> None:
    chunks = split(text, None, chunking, embedder)
    assert_covers(chunks, text)
    limit = min(chunking.max_tokens, embedder.max_tokens)
    assert all(embedder.count_tokens(chunk) <= limit for chunk in chunks)
    assert all(chunk == chunk.strip() and chunk for chunk in chunks)
    assert split(text, None, chunking, embedder) == chunks


@settings(deadline=None)  # other work on the machine is not a failure
@given(st.one_of(texts, prose), texts, chunkings(), st.sampled_from([HASH, ByteTokens()]))
def test_every_chunk_has_the_heading_within_the_limit(
    text: str, heading: str, chunking: Chunking, embedder: Embedder
) -> None:
    chunks = split(text, heading, chunking, embedder)
    limit = min(chunking.max_tokens, embedder.max_tokens)
    assert all(embedder.count_tokens(chunk) <= limit for chunk in chunks)
    if not heading.strip():
        assert chunks == split(text, None, chunking, embedder)
        return
    # What the heading alone becomes is what stands in front of every chunk.
    (title,) = split("", heading, chunking, embedder) or ("",)
    assert heading.strip().startswith(title)
    assert embedder.count_tokens(title) <= max(limit // 4, 1) or len(title) == 1
    if text.strip():
        prefix = f"{title}\n\n" if title else ""
        assert all(chunk.startswith(prefix) for chunk in chunks)
        assert_covers([chunk.removeprefix(prefix) for chunk in chunks], text)


def test_text_that_fits_is_one_chunk_as_it_is() -> None:
    text = "One sentence.\n\n  Another,   with its own spaces."
    assert split(f"\n {text}\t", None, Chunking(), HASH) == [text]
    assert split(text, " Title ", Chunking(), HASH) == [f"Title\n\n{text}"]


@pytest.mark.parametrize("nothing", ["", " ", "\n\t\r\n", "\u3000\u00a0"])
def test_nothing_gives_nothing(nothing: str) -> None:
    assert split(nothing, None, Chunking(), HASH) == []
    assert split(nothing, nothing, Chunking(), HASH) == []
    assert split(nothing, "A heading", Chunking(), HASH) == ["A heading"]
    assert split("A text", nothing, Chunking(), HASH) == ["A text"]


def test_the_models_window_bounds_the_chunk_too() -> None:
    chunks = split("word " * 400, None, Chunking(max_tokens=512, overlap=256), HASH)
    assert max(map(HASH.count_tokens, chunks)) <= HASH.max_tokens == 256
    # The overlap declared is the whole window: it must not make a chunk of every word.
    assert len(chunks) < 5


def test_a_long_heading_takes_a_quarter_at_most() -> None:
    heading = " ".join(f"word{n}" for n in range(500))
    chunks = split("text " * 100, heading, Chunking(max_tokens=64, overlap=0), HASH)
    title = " ".join(f"word{n}" for n in range(16))
    assert all(chunk.startswith(f"{title}\n\ntext") for chunk in chunks)
    assert split("", heading, Chunking(max_tokens=64), HASH) == [title]


def test_room_is_kept_for_the_heading() -> None:
    text = " ".join(f"w{n}" for n in range(300))
    chunks = split(
        text, "A heading of eleven tokens in all, punctuation included.", NO_OVERLAP, HASH
    )
    assert [HASH.count_tokens(chunk) for chunk in chunks] == [100, 100, 100, 44]


def test_neighbours_share_words_if_an_overlap_is_declared() -> None:
    words = [f"w{n}" for n in range(300)]
    overlapping = split(" ".join(words), None, Chunking(max_tokens=100, overlap=20), HASH)
    for left, right in pairwise(overlapping):
        assert len(set(left.split()) & set(right.split())) == 20
    apart = split(" ".join(words), None, NO_OVERLAP, HASH)
    assert Counter(word for chunk in apart for word in chunk.split()) == Counter(words)


def test_boundaries_are_paragraphs_before_sentences() -> None:
    paragraphs = ["First one. " * 8, "Second one. " * 8, "Third one. " * 8]
    text = "\n\n".join(paragraph.strip() for paragraph in paragraphs)
    chunks = split(text, None, Chunking(max_tokens=30, overlap=0), HASH)
    assert chunks == [paragraph.strip() for paragraph in paragraphs]


def test_a_tokenizer_that_makes_more_of_the_whole_than_of_its_parts() -> None:
    embedder = Superadditive()
    text = "\n".join(f"line {n}" for n in range(200))
    chunks = split(text, "Heading", Chunking(max_tokens=40, overlap=10), embedder)
    assert all(embedder.count_tokens(chunk) <= 40 for chunk in chunks)
    assert_covers([chunk.removeprefix("Heading\n\n") for chunk in chunks], text)


def test_a_character_of_more_tokens_than_the_overlap_ends() -> None:
    chunks = split("🙂" * 50, None, Chunking(max_tokens=16, overlap=1), ByteTokens())
    assert_covers(chunks, "🙂" * 50)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("The quick brown fox, as ever, jumps. " * 27_000, id="prose"),
        pytest.param("a" * 1_000_000, id="one word"),
        pytest.param("x" + "\n" * 1_000_000 + "y", id="newlines"),
        pytest.param("".join("x" + "\n" * n for n in range(1_400)), id="ever longer gaps"),
        pytest.param("1,2,3," * 160_000, id="no spaces"),
    ],
)
def test_long_and_odd_texts_take_seconds_at_most(text: str) -> None:
    start = time.perf_counter()
    chunks = split(text, None, Chunking(overlap=0), HASH)
    # Well under a second on an idle core; the limit leaves room for a busy machine.
    assert time.perf_counter() - start < 10
    assert "".join("".join(chunks).split()) == "".join(text.split())
    assert max(map(HASH.count_tokens, chunks)) <= 256
    # A run of letters is one token for this tokenizer; a chunk is bounded nevertheless.
    assert max(map(len, chunks)) <= 16 * 256


def test_content_hash_is_sha256_of_utf8() -> None:
    assert content_hash("naïve 東京") == hashlib.sha256("naïve 東京".encode()).digest()
    assert content_hash("a") != content_hash("b")
