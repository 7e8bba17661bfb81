"""How exactly an embedding is kept: the type of its column, and what its HNSW graph holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pgsearch.errors import DeclarationError

#: What a column of vectors may be of.
TYPES: Final = ("vector", "halfvec")

#: A column of either type takes vectors of up to this many dimensions.
MAX_DIMENSIONS: Final = 16_000

#: What a graph may hold, by how many dimensions at most.
MAX_INDEXED: Final = {"vector": 2000, "halfvec": 4000, "bit": 64_000}

_OPERATOR_CLASSES: Final = {
    "vector": "vector_cosine_ops",
    "halfvec": "halfvec_cosine_ops",
    "bit": "bit_hamming_ops",
}

_BITS: Final = {"vector": 32, "halfvec": 16, "bit": 1}


@dataclass(frozen=True)
class Precision:
    """The type of an embedding's column and of what its HNSW graph holds.

    Args:
        dimensions: Length of its vectors.
        type: "vector", four bytes a dimension, or "halfvec", two.
        index: "vector", "halfvec" or "bit", one bit a dimension: whether it is above zero.
    """

    dimensions: int
    type: str = "vector"
    index: str = "vector"

    def check(self, embedding: str) -> None:
        """Raise DeclarationError unless pgvector has such columns and such graphs.

        Args:
            embedding: Its name, for the message.
        """
        if self.type not in TYPES:
            raise DeclarationError(
                f"Embedding {embedding!r}: type={self.type!r} is unknown.",
                hint=f"Write one of {', '.join(map(repr, TYPES))}.",
            )
        if self.index not in MAX_INDEXED:
            raise DeclarationError(
                f"Embedding {embedding!r}: index={self.index!r} is unknown.",
                hint=f"Write one of {', '.join(map(repr, MAX_INDEXED))}, or leave it out.",
            )
        if (self.type, self.index) == ("halfvec", "vector"):
            raise DeclarationError(
                f"Embedding {embedding!r}: index='vector' over a column of halfvec would be twice "
                "as large and no more exact.",
                hint="Leave index out, or write index='bit', or type='vector'.",
            )
        self._check_dimensions(embedding)

    def _check_dimensions(self, embedding: str) -> None:
        if self.dimensions <= MAX_INDEXED[self.index]:
            return
        larger = [name for name, most in MAX_INDEXED.items() if self.dimensions <= most]
        raise DeclarationError(
            f"Embedding {embedding!r}: its model has {self.dimensions} dimensions, and an HNSW "
            f"graph of {self.index} takes {MAX_INDEXED[self.index]} at most.",
            hint="Write "
            + " or ".join(f"index={name!r} (up to {MAX_INDEXED[name]})" for name in larger)
            + ", or cut the vectors, if the model was trained for it: "
            "Model(…, dimensions=1024, truncate=True).",
        )

    @property
    def is_default(self) -> bool:
        """Whether column and graph are of vector, as where nothing is declared."""
        return (self.type, self.index) == ("vector", "vector")

    @property
    def is_coarse(self) -> bool:
        """Whether the graph holds less than the column, so that what it finds is ranked anew."""
        return self.index != self.type

    @property
    def column_type(self) -> str:
        """The column's type in SQL."""
        return f"{self.type}({self.dimensions})"

    @property
    def operator_class(self) -> str:
        """The operator class of the HNSW index."""
        return _OPERATOR_CLASSES[self.index]

    @property
    def graph_bytes(self) -> int:
        """About the bytes that one vector takes in the graph, without its neighbours."""
        return self.dimensions * _BITS[self.index] // 8 + 1
