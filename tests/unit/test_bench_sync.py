"""The parts of `bench.sync` that need no database: its endpoint, its processes, what it tells."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.processes import Process
from bench.sync import chart, endpoint, model
from bench.sync.freshness import Freshness, Freshnesses
from bench.sync.memory import Memory, Sample
from bench.sync.memory import Settings as MemorySettings
from bench.sync.model import Overhead, Pair
from bench.sync.race import COPY, PGAI, PGSEARCH, PgaiSetting, Race, Run
from bench.sync.race import Settings as RaceSettings
from pgsearch.declare import Model
from pgsearch.errors import EmbeddingFailed, Error, ModelUnavailable
from pgsearch.models.machine import Machine
from pgsearch.models.openai import OpenAIEmbedder

DIMENSIONS = 16


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with endpoint.serving(DIMENSIONS) as found:
        yield found


def post(url: str, body: Any) -> dict[str, Any]:
    request = urllib.request.Request(f"{url}/embeddings", json.dumps(body).encode())
    with urllib.request.urlopen(request) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def test_the_endpoint_gives_a_text_the_same_vector_in_both_forms(url: str) -> None:
    texts = [f"text {n}" for n in range(100)]
    embedder = OpenAIEmbedder(
        Model("hash", provider="openai", url=url, dimensions=DIMENSIONS), Machine()
    )
    by_base64 = [vector.to_list() for vector in embedder.embed_documents(texts)]
    answer = post(url, {"input": texts, "model": "hash", "encoding_format": "float"})
    assert [row["index"] for row in answer["data"]] == list(range(100))
    for ours, row in zip(by_base64, answer["data"], strict=True):
        assert row["embedding"] == pytest.approx(ours, abs=1e-8)
    assert len({tuple(vector) for vector in by_base64}) > 90
    assert answer["model"] == "hash"
    assert answer["usage"]["total_tokens"] > 0


def test_the_endpoint_refuses_what_it_does_not_know(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        post(url, {"input": [1], "model": "hash"})
    other = Model("hash", provider="openai", url=url, dimensions=8, truncate=True)
    with pytest.raises((EmbeddingFailed, ModelUnavailable), match="16 dimensions only"):
        OpenAIEmbedder(other, Machine()).embed_documents(["a text"])


def test_a_process_that_ends_is_an_error() -> None:
    with (
        Process("The example", [sys.executable, "-c", "input()"]) as process,
        pytest.raises(Error, match="The example has ended"),
    ):
        process.ask("a line")


def test_a_process_that_is_silent_is_an_error() -> None:
    code = "input(); input()"
    with (
        Process("The example", [sys.executable, "-c", code]) as process,
        pytest.raises(Error, match="The example says nothing"),
    ):
        process.ask("a line", timeout_s=0.1)


def race(pgsearch: float, pgai: float) -> Race:
    """A race of 20,000 rows with these times, each the median of three runs."""
    times = {PGSEARCH: pgsearch, PGAI: pgai, COPY: 0.5}
    runs = {
        name: [Run(seconds * 1.5), Run(seconds), Run(seconds * 0.9)]
        for name, seconds in times.items()
    }
    return Race(RaceSettings(), {PgaiSetting(50, 1): 900.0, PgaiSetting(500, 4): 1000.0}, runs)


@pytest.mark.parametrize(
    ("seen", "met"), [(race(3.9, 16.0), True), (race(4.1, 17.0), False), (race(3.9, 15.0), False)]
)
def test_a_race_is_won_by_rate_and_by_ratio(
    seen: Race, met: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert seen.tell() is met
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    value = {line["metric"]: line["value"] for line in lines}
    assert value["rows_per_s"] == pytest.approx(seen.rows_per_s(PGSEARCH))
    assert (value["pgai_batch_size"], value["pgai_concurrency"]) == (500, 4)


def test_the_model_is_compared_by_pairs() -> None:
    pairs = [Pair(10, 1.0, 0.5), Pair(10, 10.0, 9.6), Pair(10, 2.0, 4.0)]
    overhead = Overhead(model.Settings(), pairs)
    assert overhead.ratio == pytest.approx(0.96)
    assert overhead.tell()
    assert not Overhead(model.Settings(), pairs[:1]).tell()


def test_a_collection_with_too_few_texts_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "1", "text": "One."}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "one"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n")
    with pytest.raises(Error, match="1 texts, fewer than 2"):
        model.measure(model.Settings(texts=2, data=tmp_path))


def test_a_change_may_be_found_as_late_as_the_model_takes_and_a_quarter_second() -> None:
    in_time = Freshness(model_ms=[40.0] * 20, found_ms=[100.0] * 19 + [900.0])
    late = Freshness(model_ms=[40.0] * 20, found_ms=[295.0] * 20)
    assert in_time.allowed_ms == pytest.approx(290)
    assert Freshnesses({"minilm": in_time}).tell()
    assert not Freshnesses({"minilm": in_time, "hash": late}).tell()


def memory(*megabytes: float) -> Memory:
    """Samples of a fill whose first quarter is done at the third one."""
    count = len(megabytes)
    samples = [
        Sample(float(n), 1000, max(0, (1000 * n) // (count - 1)), each)
        for n, each in enumerate(megabytes)
    ]
    return Memory(MemorySettings(rows=1000), samples)


def test_memory_may_grow_at_the_beginning_only() -> None:
    flat = memory(40, 70, 100, 101, 109, 104, 105, 106, 100)
    assert flat.warm.megabytes == 100
    assert flat.growth == pytest.approx(9)
    assert flat.tell()
    assert not memory(40, 70, 100, 101, 111, 104, 105, 106, 100).tell()


def test_pictures_show_what_was_seen() -> None:
    freshness = Freshnesses({"minilm": Freshness([40.0], [100.0, 200.0])})
    for drawn, words in (
        (chart.draw_race(race(4.0, 16.0)), ["pgsearch", "5,000", "pgai", "1,250"]),
        (chart.draw_freshness(freshness), ["minilm", "290 ms"]),
        (chart.draw_memory(memory(40, 70, 100, 100, 100)), ["embedding"]),
    ):
        texts = [element.text for element in ElementTree.fromstring(drawn).iter()]
        assert set(words) <= set(texts)
