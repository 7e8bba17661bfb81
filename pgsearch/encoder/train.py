"""Learning a table of token vectors whose sum points where the model's vector points.

NumPy is enough for it: of each batch a small matrix of texts by tokens is multiplied with the
vectors of the tokens that are in it, which takes a minute, and no library of models is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Numbers = NDArray[np.int64]

#: A text as token numbers and what each of them counts.
Bag = tuple["Numbers", "Floats"]


@dataclass(frozen=True)
class Schedule:
    """How long is trained, and how.

    Args:
        passages: How often each passage is seen.
        texts: How often each short text is seen, after that.
        passage_rate: The length of the first step with passages; it goes down to nothing.
        text_rate: The same with texts.
        dropped: The share of known words that are taken for unknown in texts, so that parts learn.
    """

    passages: int = 3
    texts: int = 2
    passage_rate: float = 0.001
    text_rate: float = 0.0003
    dropped: float = 0.1


@dataclass(frozen=True)
class Course:
    """One part of a schedule.

    Args:
        epochs: How often each text is seen.
        rate: The length of the first step; it goes down to nothing.
        dropped: The share of known words that are taken for unknown.
        batch: Texts per step.
    """

    epochs: int
    rate: float
    dropped: float
    batch: int = 128

    def seen(self, texts: int) -> int:
        """Return how often each of so many texts is seen: more often where there are few."""
        steps = max(1, -(-texts // self.batch))
        return max(self.epochs, min(_MOST_EPOCHS, -(-_LEAST_STEPS // steps)))


#: What the model's own vector of a word counts beside the passages that hold the word.
_OWN: Final = 3.0

#: Steps at least, but for texts that would be seen more often than this.
_LEAST_STEPS: Final = 150
_MOST_EPOCHS: Final = 20

_BETA_1: Final = 0.9
_BETA_2: Final = 0.99


class Bags:
    """Texts as tokens: each time anew, for words are taken for unknown at random.

    Args:
        texts: The words of each text, by number; of a word that is not known, those of its parts.
        parts_of: The parts of each known word.
    """

    def __init__(
        self, texts: Sequence[Sequence[int | Sequence[int]]], parts_of: Sequence[Sequence[int]]
    ) -> None:
        self.texts = texts
        self.parts_of = parts_of

    def __len__(self) -> int:
        return len(self.texts)

    def batch(
        self, chosen: Numbers, dropped: float, draw: np.random.Generator
    ) -> tuple[Numbers, Numbers, Floats]:
        """Return rows, tokens and weights of some texts, as of a sparse matrix."""
        import numpy as np

        rows: list[int] = []
        tokens: list[int] = []
        weights: list[float] = []
        for row, text in enumerate(chosen.tolist()):
            for word in self.texts[text]:
                parts: Sequence[int]
                if isinstance(word, int):
                    parts = self.parts_of[word] if dropped and draw.random() < dropped else ()
                    if not parts:
                        rows.append(row)
                        tokens.append(word)
                        weights.append(1.0)
                        continue
                else:
                    parts = word
                if parts:
                    rows += [row] * len(parts)
                    tokens += parts
                    weights += [1.0 / len(parts)] * len(parts)
        return (
            np.array(rows, dtype=np.int64),
            np.array(tokens, dtype=np.int64),
            np.array(weights, dtype=np.float32),
        )


def start(bags: Bags, targets: Floats, word_vectors: Floats, weights: Floats, parts: int) -> Floats:
    """Return the vectors to begin with.

    A word has the model's vector of it, and a little of the mean of the passages that hold it, as
    long as the word is rare; a part has the mean of the words that hold it. Of both the mean of all
    is taken away, for what all texts have in common says nothing.

    Args:
        bags: Passages as words.
        targets: Their vectors.
        word_vectors: The model's vectors of the first words, the most frequent ones.
        weights: How much each word says.
        parts: How many parts there are, behind the words.
    """
    import numpy as np

    words = len(weights)
    table = np.zeros((words + parts, targets.shape[1]), dtype=np.float32)
    counts = np.zeros(words + parts, dtype=np.float32)
    for text, target in zip(bags.texts, targets, strict=True):
        table[text] += target
        counts[text] += 1
    found = table[:words]
    found -= counts[:words, None] * targets.mean(axis=0)
    found /= np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-6)
    if len(word_vectors):
        own = word_vectors - word_vectors.mean(axis=0)
        own /= np.linalg.norm(own, axis=1, keepdims=True).clip(min=1e-6)
        found[: len(own)] += _OWN * own
    found /= np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-6)
    found *= weights[:, None]
    for word, numbers in enumerate(bags.parts_of):
        if numbers:
            table[numbers] += table[word]
            counts[numbers] += 1
    table[words:] /= counts[words:, None].clip(min=1)
    return table


def train(
    table: Floats,
    bags: Bags,
    targets: Floats,
    course: Course,
    seed: int,
    tick: Callable[[int], None] = lambda _: None,
) -> None:
    """Change token vectors so that their sums point to the targets.

    Args:
        table: The vectors of tokens, which are changed in place.
        bags: The texts.
        targets: The model's vector of each text, of unit length.
        course: How long, and how.
        seed: Which texts come first, and which words are taken for unknown.
        tick: Called with the number of texts after each step.
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    first, second = np.zeros_like(table), np.zeros_like(table)
    epochs = course.seen(len(bags))
    steps = epochs * -(-len(bags) // course.batch)
    step = 0
    for _ in range(epochs):
        order = draw.permutation(len(bags))
        for begin in range(0, len(bags), course.batch):
            chosen = order[begin : begin + course.batch]
            rate = course.rate * (1 - step / steps)
            step += 1
            _step(table, first, second, bags.batch(chosen, course.dropped, draw),
                  targets[chosen], rate, step)  # fmt: skip
            tick(len(chosen))


def _step(
    table: Floats,
    first: Floats,
    second: Floats,
    batch: tuple[Numbers, Numbers, Floats],
    targets: Floats,
    rate: float,
    step: int,
) -> None:
    """Take one step of Adam on the tokens of a batch; those of others do not move."""
    import numpy as np

    rows, tokens, weights = batch
    if not len(tokens):
        return
    used, places = np.unique(tokens, return_inverse=True)
    matrix = np.zeros((len(targets), len(used)), dtype=np.float32)
    np.add.at(matrix, (rows, places), weights)
    sums = matrix @ table[used]
    lengths = np.linalg.norm(sums, axis=1, keepdims=True).clip(min=1e-6)
    units = sums / lengths
    cosines = (units * targets).sum(axis=1, keepdims=True)
    # The loss is 1 - cosine; a text without tokens has a row of zeros and moves nothing.
    slopes = (cosines * units - targets) / lengths
    gradient = matrix.T @ slopes
    one = first[used] * _BETA_1 + gradient * (1 - _BETA_1)
    two = second[used] * _BETA_2 + gradient * gradient * (1 - _BETA_2)
    first[used], second[used] = one, two
    one /= 1 - _BETA_1**step
    two /= 1 - _BETA_2**step
    table[used] -= rate * one / (np.sqrt(two) + 1e-8)


def encode(table: Floats, bags: Bags) -> Floats:
    """Return the vectors that a table gives to texts: of unit length; zero where none is known."""
    import numpy as np

    made = np.zeros((len(bags), table.shape[1]), dtype=np.float32)
    draw = np.random.default_rng(0)
    for begin in range(0, len(bags), 256):
        chosen = np.arange(begin, min(begin + 256, len(bags)))
        rows, tokens, weights = bags.batch(chosen, 0.0, draw)
        np.add.at(made, rows + begin, table[tokens] * weights[:, None])
    made /= np.linalg.norm(made, axis=1, keepdims=True).clip(min=1e-12)
    return made
