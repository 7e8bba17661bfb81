"""What each precision of an embedding would cost and give, measured on a sample of its vectors.

The sample is kept as vectors and half vectors, indexed as vectors, half vectors and single bits,
and asked for the neighbours of the same queries; what a look at each vector finds is the truth.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from pgsearch.errors import Error
from pgsearch.evaluate.sample import NEIGHBOURS, Column, Sample, Variant, column_of

if TYPE_CHECKING:
    from pgsearch.database import Connection
    from pgsearch.registry import RegisteredEmbedding, RegisteredIndex

__all__ = ["Advice", "Measured", "Plan", "Point", "Step", "Variant", "advise"]

#: Candidates that a scan keeps, as they are tried.
EF_SEARCH: Final = (40, 100, 200, 300, 400, 800)

#: pgvector takes no more of them.
_MOST_EF_SEARCH: Final = 1000

#: What HNSW takes, in dimensions; see pgvector.
_MOST_DIMENSIONS: Final = {"vector": 2_000, "halfvec": 4_000, "bit": 64_000}

#: Candidates grow as this power of the table; see docs/decisions/018.
_GROWTH: Final = 0.4

#: Fewer vectors say nothing, and need no index.
LEAST: Final = 500

#: Of few vectors, this share is held out as queries at most.
_HELD_OUT: Final = 0.2

#: A table that has no more rows than this for each of the sample is the sample, and the queries.
_WHOLE: Final = 1 / (1 - _HELD_OUT)

#: Queries that are asked before any is timed.
_WARM: Final = 10

#: Sizes that differ by no more than this are alike, and the faster one is better.
_ALIKE: Final = 1.05


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Args:
        recall: Which share of the ten nearest is to be found, above 0 to 1.
        sample: Vectors that are looked at, queries not counted.
        queries: How many of the embedding's own vectors are asked for, if no text is given.
        asked: Vectors of other queries, as PostgreSQL reads them; they are asked instead.
        dimensions: Lengths to which vectors are cut, beside their own.
        m: Neighbours per node of the graphs.
    """

    recall: float = 0.95
    sample: int = 20_000
    queries: int = 200
    asked: Sequence[str] = ()
    dimensions: Sequence[int] = ()
    m: Sequence[int] = (16, 24)


@dataclass(frozen=True)
class Point:
    """What a variant gives with so many candidates.

    Args:
        ef_search: The candidates.
        recall: Share of the ten nearest vectors that it finds, mean over the queries.
        p50_ms: Milliseconds of a query, the median.
    """

    ef_search: int
    recall: float
    p50_ms: float


@dataclass(frozen=True)
class Measured:
    """A variant, and what was measured of it.

    Args:
        variant: The variant.
        column_bytes: What each vector takes in the table.
        graph_bytes: What it takes in the HNSW index.
        build_s: Seconds that the index took, on one core.
        points: What it gives, by the number of candidates.
    """

    variant: Variant
    column_bytes: float
    graph_bytes: float
    build_s: float
    points: tuple[Point, ...]

    @property
    def bytes(self) -> float:
        """What each vector takes, in the table and in the index."""
        return self.column_bytes + self.graph_bytes

    def least(self, recall: float) -> Point | None:
        """Return the point with the fewest candidates that reaches a recall."""
        return next((point for point in self.points if point.recall >= recall), None)


@dataclass(frozen=True)
class Advice:
    """What was measured, and what follows.

    Args:
        index: The search index.
        embedding: The embedding whose vectors were drawn.
        column: How they are kept now.
        plan: What was to be measured.
        rows: Vectors that the table has, about.
        sampled: Vectors of the sample.
        queries: How many queries were asked.
        usual_ef_search: Candidates of a search of this table that does not say how many.
        measured: The variants.
        notes: What one has to know of the figures.
    """

    index: RegisteredIndex
    embedding: RegisteredEmbedding
    column: Column
    plan: Plan
    rows: int
    sampled: int
    queries: int
    usual_ef_search: int
    measured: tuple[Measured, ...]
    notes: tuple[str, ...]

    @property
    def growth(self) -> float:
        """How many times the sample's candidates the whole table needs, about."""
        ratio = self.rows / self.sampled
        return float(ratio**_GROWTH) if ratio > _WHOLE else 1.0

    def ef_search(self, measured: Measured) -> int | None:
        """Return the candidates by which a variant reaches the target in the whole table.

        It is an estimate; None if there is no such number.
        """
        point = measured.least(self.plan.recall)
        if point is None:
            return None
        needed = math.ceil(point.ef_search * self.growth / 10) * 10
        return needed if needed <= _MOST_EF_SEARCH else None

    @property
    def recommended(self) -> Measured | None:
        """The smallest variant that reaches the target, or one as small that is faster."""
        reached = [each for each in self.measured if self.ef_search(each) is not None]
        if not reached:
            return None
        smallest = min(each.bytes for each in reached)
        return min(
            (each for each in reached if each.bytes <= _ALIKE * smallest),
            key=lambda each: self.expected_ms(each) or math.inf,
        )

    def expected_ms(self, measured: Measured) -> float | None:
        """Return the time of a query with the candidates that the table needs, on the sample."""
        needed = self.ef_search(measured)
        if needed is None:
            return None
        points = measured.points
        return next((p.p50_ms for p in points if p.ef_search >= needed), points[-1].p50_ms)

    def is_as_now(self, variant: Variant) -> bool:
        """Return whether a variant is what the embedding is already."""
        now = self.embedding
        there = Variant(self.column.type, self.column.index or "", now.m, now.model.dimensions)
        return variant == there

    def declaration(self, measured: Measured) -> str:
        """Return a variant as it is declared."""
        from dataclasses import replace

        variant, model = measured.variant, self.embedding.model
        if variant.dimensions != model.dimensions:
            model = replace(model, dimensions=variant.dimensions, truncate=True)
        said = [
            repr(self._name(variant)),
            repr(model),
            f"type={variant.type!r}",
            f"index={variant.index!r}",
            f"m={variant.m}",
        ]
        ef_construction = _ef_construction(self.embedding, variant)
        if ef_construction != 64:
            said.append(f"ef_construction={ef_construction}")
        return f"Embedding({', '.join(said)})"

    def command(self, measured: Measured) -> str | None:
        """Return the command that goes over to a variant; None if it takes a declaration."""
        variant = measured.variant
        is_usual = (variant.m, _ef_construction(self.embedding, variant)) == (16, 64)
        if not is_usual or variant.dimensions != self.embedding.model.dimensions:
            return None
        return (
            f"pgsearch upgrade {self.index.name} --to {self.embedding.name} "
            f"--as {self._name(variant)} --vector-type {variant.type} --index-type {variant.index}"
        )

    def _name(self, variant: Variant) -> str:
        """Return what an embedding of a variant may be called: `minilm_bits` of `minilm_v1`."""
        parts = [re.sub(r"_v\d+$", "", self.embedding.name)]
        if variant.dimensions != self.embedding.model.dimensions:
            parts.append(str(variant.dimensions))
        parts.append({"vector": "full", "halfvec": "half", "bit": "bits"}[variant.index])
        name = "_".join(parts)
        known = {each.name for each in self.index.embeddings}
        number = 1
        while name in known:
            number += 1
            name = "_".join([*parts, f"v{number}"])
        return name


@dataclass(frozen=True)
class Step:
    """How far the measuring is.

    Args:
        doing: What is being done, in words.
        done: Queries that were asked since the last time.
        total: Queries that are asked in all; None as long as that is not known.
    """

    doing: str
    done: int
    total: int | None


def advise(
    connection: Connection,
    index: RegisteredIndex,
    embedding: RegisteredEmbedding,
    plan: Plan,
    *,
    on_step: Callable[[Step], None] = lambda _: None,
) -> Advice:
    """Measure what each precision and length of an embedding's vectors would cost and give.

    Args:
        connection: An autocommit connection of a role that may read the search index. Its session
            is used for temporary tables, and set up for them.
        index: The search index.
        embedding: One of its embeddings that has vectors.
        plan: What is to be measured.
        on_step: Called now and then with how far it is.

    Raises:
        Error: There are too few vectors, or dimensions that the embedding does not have.
        DatabaseError: The session cannot be used, or the column is gone.
    """
    from pgsearch.status import read_status

    column = column_of(connection, index, embedding)
    name = f"{index.definition.schema}.{index.definition.name}"
    (status,) = read_status(connection, name)
    (rows,) = (each.vectors for each in status.embeddings if each.name == embedding.name)
    if rows < LEAST:
        raise _too_few(index, embedding, rows)
    own = embedding.model.dimensions
    lengths = _lengths(embedding, plan)
    limit = plan.sample + (0 if plan.asked else plan.queries)
    sample = Sample(connection, own, limit)
    with sample.session(max(plan.m)):
        on_step(Step("drawing vectors", 0, None))
        # Somewhat more are read than are wanted, for chance gives now more and now less.
        drawn = sample.draw(
            index,
            embedding,
            share=1.2 * (limit + 100) / max(1, status.chunks),
            is_large=column.is_large,
        )
        if drawn < LEAST:
            raise _too_few(index, embedding, drawn)
        asked = plan.asked or sample.hold_out(min(plan.queries, int(_HELD_OUT * drawn)))
        variants = list(_variants(column, lengths, plan.m))
        work = _Work(sample, embedding, asked, len(variants), on_step)
        measured = tuple(work.measure(variants))
    notes = [*_notes(embedding, plan, lengths), *sample.notes]
    usual = connection.execute("SELECT pgsearch.usual_ef_search(%s, 30, false)", [rows]).fetchone()
    assert usual is not None
    return Advice(
        index=index,
        embedding=embedding,
        column=column,
        plan=plan,
        rows=rows,
        sampled=sample.vectors,
        queries=len(asked),
        usual_ef_search=int(usual[0]),
        measured=measured,
        notes=tuple(notes),
    )


class _Work:
    """The measuring of some variants of one sample, by the same queries."""

    def __init__(
        self,
        sample: Sample,
        embedding: RegisteredEmbedding,
        asked: Sequence[str],
        variants: int,
        on_step: Callable[[Step], None],
    ) -> None:
        self._sample = sample
        self._embedding = embedding
        self._asked = asked
        self._total = len(asked) * (1 + variants * len(EF_SEARCH))
        self._on_step = on_step

    def measure(self, variants: Sequence[Variant]) -> Iterator[Measured]:
        """Yield what was measured of each variant."""
        truth = []
        for vector in self._asked:
            truth.append(self._sample.nearest(vector))
            self._step("looking at all", 1)
        columns = dict.fromkeys((each.type, each.dimensions) for each in variants)
        for type_, dimensions in columns:
            asked = self._sample.cut(self._asked, dimensions)
            with self._sample.kept(type_, dimensions):
                for variant in variants:
                    if (variant.type, variant.dimensions) == (type_, dimensions):
                        yield self._measure(variant, asked, truth)

    def _measure(
        self, variant: Variant, asked: Sequence[str], truth: Sequence[frozenset[int]]
    ) -> Measured:
        named = f"{variant.type}/{variant.index} {variant.m}"
        self._step(f"{named}: building", 0)
        with self._sample.indexed(variant, _ef_construction(self._embedding, variant)) as build_s:
            column_bytes, graph_bytes = self._sample.sizes()
            points = []
            for _ in self._sample.searched(variant, max(EF_SEARCH), asked[:_WARM]):
                pass
            for ef_search in EF_SEARCH:
                found, times = [], []
                for numbers, ms in self._sample.searched(variant, ef_search, asked):
                    found.append(numbers)
                    times.append(ms)
                    self._step(f"{named}: asking", 1)
                points.append(Point(ef_search, _recall(found, truth), median(times)))
        return Measured(variant, column_bytes, graph_bytes, build_s, tuple(points))

    def _step(self, doing: str, done: int) -> None:
        self._on_step(Step(doing, done, self._total))


def _recall(found: Sequence[Sequence[int]], truth: Sequence[frozenset[int]]) -> float:
    """Return which share of the nearest was found; of some that are equally near, any will do."""
    hits = sum(
        min(NEIGHBOURS, len(nearest.intersection(numbers)))
        for numbers, nearest in zip(found, truth, strict=True)
    )
    return hits / sum(min(NEIGHBOURS, len(nearest)) for nearest in truth)


def _variants(column: Column, lengths: Sequence[int], graphs: Sequence[int]) -> Iterator[Variant]:
    """Yield what can be declared: nothing is more precise than the vectors that there are."""
    types = ("vector", "halfvec") if column.type == "vector" else ("halfvec",)
    for dimensions in lengths:
        for type_ in types:
            for index in (*types[types.index(type_) :], "bit"):
                if dimensions <= _MOST_DIMENSIONS[index]:
                    for m in graphs:
                        yield Variant(type_, index, m, dimensions)


def _lengths(embedding: RegisteredEmbedding, plan: Plan) -> list[int]:
    """Return the lengths of vectors to measure, the embedding's own first."""
    model = embedding.model
    for dimensions in plan.dimensions:
        if not 1 <= dimensions <= model.dimensions:
            raise Error(
                f"Vectors of {embedding.name} have {model.dimensions} dimensions, and cannot be "
                f"cut to {dimensions}.",
                hint=f"Name fewer than {model.dimensions} in --dimensions.",
            )
    # A model whose vectors are cut already was trained to have them cut.
    wanted = plan.dimensions or ((model.dimensions // 2,) if model.truncate else ())
    return list(dict.fromkeys([model.dimensions, *wanted]))


def _ef_construction(embedding: RegisteredEmbedding, variant: Variant) -> int:
    return max(embedding.ef_construction, 2 * variant.m)


def _notes(embedding: RegisteredEmbedding, plan: Plan, lengths: Sequence[int]) -> Iterator[str]:
    if len(lengths) > 1 and not embedding.model.truncate:
        yield (
            "The model is not declared as one whose vectors may be cut (truncate=True): only one "
            "that was trained for it (Matryoshka) gives good short vectors. Look it up, and ask "
            "`pgsearch compare` before you go over to them."
        )
    if not plan.asked:
        yield (
            "Passages were asked for their like, which lie nearer to each other than queries to "
            "passages: --queries-from FILE, or --logged N, asks your own."
        )


def _too_few(index: RegisteredIndex, embedding: RegisteredEmbedding, vectors: int) -> Error:
    return Error(
        f"Embedding {embedding.name!r} of search index {index.name} has {vectors:,} vectors: fewer "
        f"than {LEAST} say nothing of an index.",
        hint="So few are found by a look at each, in any precision. If more are to come, let "
        "`pgsearch sync` embed them first.",
    )
