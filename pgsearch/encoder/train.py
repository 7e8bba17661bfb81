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
        epochs: How often each text is seen.
        batch: Texts per step.
        rate: The length of the first step; it goes down to nothing.
        dropped: The share of known words that are taken for unknown, so that parts learn, too.
    """

    epochs: int = 5
    batch: int = 256
    rate: float = 0.02
    dropped: float = 0.1


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
        self._texts = texts
        self._parts_of = parts_of

    def __len__(self) -> int:
        return len(self._texts)

    def batch(
        self, chosen: Numbers, dropped: float, draw: np.random.Generator
    ) -> tuple[Numbers, Numbers, Floats]:
        """Return rows, tokens and weights of some texts, as of a sparse matrix."""
        import numpy as np

        rows: list[int] = []
        tokens: list[int] = []
        weights: list[float] = []
        for row, text in enumerate(chosen.tolist()):
            for word in self._texts[text]:
                parts: Sequence[int]
                if isinstance(word, int):
                    parts = self._parts_of[word] if dropped and draw.random() < dropped else ()
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


def start(
    word_vectors: Floats, weights: Floats, parts_of: Sequence[Sequence[int]], parts: int
) -> Floats:
    """Return the vectors to begin with.

    A word has the model's own vector of it, as long as the word is rare; a part has the mean of the
    words that hold it.

    Args:
        word_vectors: The model's vector of each word.
        weights: How much each word says.
        parts_of: The numbers of each word's parts, behind those of the words.
        parts: How many parts there are.
    """
    import numpy as np

    words = len(word_vectors)
    table = np.zeros((words + parts, word_vectors.shape[1]), dtype=np.float32)
    table[:words] = word_vectors * weights[:, None]
    counts = np.zeros(words + parts, dtype=np.float32)
    for word, numbers in enumerate(parts_of):
        if numbers:
            table[numbers] += table[word]
            counts[numbers] += 1
    table[words:] /= counts[words:, None].clip(min=1)
    return table


def train(
    table: Floats,
    bags: Bags,
    targets: Floats,
    schedule: Schedule,
    seed: int,
    tick: Callable[[int], None] = lambda _: None,
) -> None:
    """Change token vectors so that their sums point to the targets.

    Args:
        table: The vectors of tokens, which are changed in place.
        bags: The texts.
        targets: The model's vector of each text, of unit length.
        schedule: How long, and how.
        seed: Which texts come first, and which words are taken for unknown.
        tick: Called with the number of texts after each step.
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    first, second = np.zeros_like(table), np.zeros_like(table)
    steps = schedule.epochs * -(-len(bags) // schedule.batch)
    step = 0
    for _ in range(schedule.epochs):
        order = draw.permutation(len(bags))
        for begin in range(0, len(bags), schedule.batch):
            chosen = order[begin : begin + schedule.batch]
            rate = schedule.rate * (1 - step / steps)
            step += 1
            _step(table, first, second, bags.batch(chosen, schedule.dropped, draw),
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
