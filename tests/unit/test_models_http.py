"""Models behind an HTTP endpoint, against a real server that answers well."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pgvector import Vector

from pgsearch import Model
from pgsearch.errors import EmbeddingFailed, ModelMismatch, ModelUnavailable
from pgsearch.models import load, packaged
from pgsearch.models import openai as provider
from pgsearch.models.machine import Machine
from pgsearch.models.openai import OpenAIEmbedder
from pgsearch.models.tokens import Estimate
from pgsearch.testing import HashEmbedder
from tests.plugins.embedding_server import Answer, EmbeddingServer, Request, refusal, serving

DIMENSIONS = 16
LONG = "A text about rivers that is long enough to have all dimensions"

Load = Callable[..., OpenAIEmbedder]


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with serving(DIMENSIONS) as server:
        yield server


@pytest.fixture
def embedder(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a function that loads a model of the server, with fields and settings of a test."""

    def loaded(*, dimensions: int = DIMENSIONS, **fields: object) -> OpenAIEmbedder:
        machine = {name: fields.pop(name) for name in Machine.__annotations__ if name in fields}
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        model = Model("m", provider="openai", dimensions=dimensions, url=server.url, **fields)  # type: ignore[arg-type]
        return OpenAIEmbedder(model, Machine(**machine))  # type: ignore[arg-type]

    return loaded


def expected(*texts: str) -> list[Vector]:
    return HashEmbedder(DIMENSIONS).embed_documents(texts)


def cosine(a: Vector, b: Vector) -> float:
    x, y = a.to_list(), b.to_list()
    return sum(p * q for p, q in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))


class TestRequests:
    def test_vectors_come_in_the_order_of_texts_however_the_endpoint_sorts_them(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        texts = [f"text number {n}" for n in range(30)]
        assert embedder().embed_documents(texts) == expected(*texts)
        (path,) = {request.path for request in server.requests}
        assert path == "/v1/embeddings"
        assert {request.body["model"] for request in server.requests} == {"m"}

    def test_prompts_are_put_in_front(self, server: EmbeddingServer, embedder: Load) -> None:
        both = embedder(query_prompt="query: ", document_prompt="passage: ")
        assert both.embed_queries(["it"]) == expected("query: it")
        assert both.embed_documents(["it"]) == expected("passage: it")

    def test_equal_texts_are_sent_once(self, server: EmbeddingServer, embedder: Load) -> None:
        assert embedder().embed_documents(["a", "b", "a"]) == expected("a", "b", "a")
        assert [request.texts for request in server.requests] == [["a", "b"]]

    def test_many_texts_go_in_a_few_requests_at_a_time(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        server.behave = lambda request: server.embedded(request, delay_s=0.05)
        texts = [f"text number {n}" for n in range(100)]
        assert embedder(requests=3, request_texts=20).embed_documents(texts) == expected(*texts)
        assert [len(request.texts) for request in server.requests] == [20] * 5
        assert server.most_at_a_time == 3

    def test_fewer_texts_are_shared_out_evenly(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        embedder(requests=4).embed_documents([f"text number {n}" for n in range(120)])
        assert [len(request.texts) for request in server.requests] == [30] * 4

    def test_long_texts_go_in_requests_of_their_own(
        self, server: EmbeddingServer, embedder: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(provider, "_REQUEST_TOKENS", 100)
        texts = [f"{n} " + "word " * 59 for n in range(3)] + ["a", "b", "c"]
        embedder().embed_documents(texts)
        assert sorted(len(request.texts) for request in server.requests) == [1, 1, 4]

    def test_an_endpoint_that_takes_fewer_texts_is_sent_fewer_from_then_on(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        def at_most_8(request: Request) -> Answer | None:
            if len(request.texts) <= 8:
                return None
            # As text-embeddings-inference puts it.
            return refusal(422, "batch size 32 > maximum allowed batch size 8")

        server.behave = at_most_8
        texts = [f"text number {n}" for n in range(32)]
        narrow = embedder(requests=1)
        assert narrow.embed_documents(texts) == expected(*texts)
        server.requests.clear()
        again = [f"other {n}" for n in range(32)]
        assert narrow.embed_documents(again) == expected(*again)
        assert [len(request.texts) for request in server.requests] == [8] * 4

    def test_half_a_surrogate_pair_does_not_stop_it(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        assert embedder().embed_queries(["half \ud800 of it"]) == expected("half ? of it")


class TestAnswers:
    def test_base64_is_asked_for(self, server: EmbeddingServer, embedder: Load) -> None:
        assert embedder().embed_documents(["a text"]) == expected("a text")
        assert server.requests[0].body["encoding_format"] == "base64"

    def test_an_endpoint_that_ignores_base64_answers_in_numbers(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        plain = expected("a text")[0].to_list()
        server.script(Answer(body={"data": [{"index": 0, "embedding": plain}]}))
        assert embedder().embed_documents(["a text"]) == expected("a text")

    @pytest.mark.parametrize("status", [400, 422, 501])
    def test_an_endpoint_that_refuses_base64_is_not_asked_for_it_again(
        self, server: EmbeddingServer, embedder: Load, status: int
    ) -> None:
        server.behave = lambda request: (
            refusal(status, "unknown parameter") if "encoding_format" in request.body else None
        )
        plain = embedder()
        assert plain.embed_documents(["one"]) == expected("one")
        assert plain.embed_documents(["two"]) == expected("two")
        forms = [request.body.get("encoding_format") for request in server.requests]
        assert forms == ["base64", None, None]

    def test_one_that_knows_base64_is_not_asked_again_for_a_text_that_it_refuses(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        known = embedder()
        known.embed_documents(["one"])
        server.requests.clear()
        server.behave = lambda request: (
            refusal(400, "too long") if "poison" in request.texts else None
        )
        with pytest.raises(EmbeddingFailed):
            known.embed_documents(["poison"])
        # The text, and a harmless one.
        assert len(server.requests) == 2

    def test_answers_without_numbers_are_taken_in_their_order(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        rows = [{"embedding": vector.to_list()} for vector in expected("one", "two")]
        server.script(Answer(body={"data": rows}))
        assert embedder().embed_documents(["one", "two"]) == expected("one", "two")

    @pytest.mark.parametrize("numbers", [[0, 0], [1, 2], [0, None], [0, 1, 2], [0]])
    def test_vectors_that_cannot_be_told_apart_are_refused(
        self, server: EmbeddingServer, embedder: Load, numbers: list[int | None]
    ) -> None:
        values = [1.0] + [0.0] * (DIMENSIONS - 1)
        rows = [{"index": number, "embedding": values} for number in numbers]
        server.script(Answer(body={"data": rows}))
        with pytest.raises(ModelMismatch, match="2 texts") as caught:
            embedder().embed_documents(["one", "two"])
        assert "PGSEARCH_REQUEST_TEXTS=1" in str(caught.value.hint)

    def test_other_dimensions_than_declared_are_refused(self, embedder: Load) -> None:
        with pytest.raises(ModelMismatch, match=r"16 dimensions.*dimensions=8") as caught:
            embedder(dimensions=8).embed_documents(["a text"])
        assert "dimensions=16" in str(caught.value.hint)
        assert "truncate=True" in str(caught.value.hint)
        with pytest.raises(ModelMismatch) as caught:
            embedder(dimensions=32, truncate=True).embed_documents(["a text"])
        assert "truncate" not in str(caught.value.hint)

    def test_dimensions_are_asked_for_only_if_vectors_shall_be_cut(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        embedder().embed_documents([LONG])
        assert "dimensions" not in server.requests[0].body
        (cut,) = embedder(dimensions=4, truncate=True).embed_documents([LONG])
        assert server.requests[1].body["dimensions"] == 4
        # The server does not scale what it cuts.
        assert math.hypot(*cut.to_list()) == pytest.approx(1, abs=1e-6)
        whole = Vector(expected(LONG)[0].to_list()[:4])
        assert cosine(cut, whole) == pytest.approx(1)

    def test_an_endpoint_that_cannot_cut_has_it_done_here(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        asked = embedder(dimensions=4, truncate=True)
        (cut,) = asked.embed_documents([LONG])
        server.behave = lambda request: server.embedded(
            Request(request.path, request.headers, request.body | {"dimensions": None})
        )
        assert asked.embed_documents([LONG]) == [cut]

    def test_vectors_are_scaled_only_if_declared_so(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        values = [3.0, 4.0] + [0.0] * (DIMENSIONS - 2)
        server.behave = lambda request: Answer(body={"data": [{"index": 0, "embedding": values}]})
        (scaled,) = embedder().embed_documents(["a text"])
        assert scaled.to_list()[:2] == pytest.approx([0.6, 0.8])
        (raw,) = embedder(normalize=False).embed_documents(["a text"])
        assert raw.to_list() == values

    @pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
    def test_a_vector_without_a_direction_names_its_text(
        self, server: EmbeddingServer, embedder: Load, value: float
    ) -> None:
        rows = [{"index": 0, "embedding": [value] * DIMENSIONS}]
        server.script(Answer(body={"data": rows}))
        with pytest.raises(EmbeddingFailed, match="'a strange text'"):
            embedder(normalize=False).embed_documents(["a strange text"])


class TestTokens:
    def test_the_window_is_openais_unless_declared(self, embedder: Load) -> None:
        assert embedder().max_tokens == 8191
        assert embedder(max_tokens=512).max_tokens == 512
        assert embedder(max_tokens=512, document_prompt="keep this: ").max_tokens == 509

    def test_a_prompt_that_fills_the_window_is_refused(self, embedder: Load) -> None:
        with pytest.raises(ModelUnavailable, match="no room is left"):
            embedder(max_tokens=8, document_prompt="so " * 8)

    def test_a_longer_text_is_cut_before_it_is_sent(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        embedder(max_tokens=10).embed_queries(["one two " * 100])
        (sent,) = server.requests[0].texts
        assert sent.split() == ["one", "two"] * 5

    def test_tokens_are_counted_by_the_tokenizer_that_is_named(
        self, server: EmbeddingServer, embedder: Load
    ) -> None:
        folder = packaged.find(packaged.MINILM)
        minilm = load(Model(packaged.MINILM, revision=packaged.MINILM_REVISION, dimensions=384))
        for path in (folder, folder and folder / "tokenizer.json"):
            counting = embedder(tokenizer=str(path), max_tokens=256)
            assert counting.max_tokens == 254
            for text in ("", "one", "Naïve tokenization, isn't it?", "東京 🙂", "river " * 999):
                assert counting.count_tokens(text) == minilm.count_tokens(text)
        counting.embed_documents(["Tokenizations of rivers " * 100])
        (sent,) = server.requests[0].texts
        # Cut where the model would cut it, special tokens included.
        assert minilm.count_tokens(sent) == 254

    def test_a_tokenizer_that_is_not_there_is_named(self, embedder: Load, tmp_path: Path) -> None:
        with pytest.raises(ModelUnavailable, match=r"tokenizer\.json cannot be read"):
            embedder(tokenizer=str(tmp_path))

    @given(st.text(), st.integers(0, 30))
    def test_what_is_cut_fits_and_no_token_is_less_than_a_byte(self, text: str, limit: int) -> None:
        estimate = Estimate()
        cut = estimate.cut(text, limit)
        assert text.startswith(cut)
        assert estimate.count(cut) <= limit
        assert cut == text or estimate.count(text) > limit
        assert estimate.count(text) <= len(text.encode("utf-8", "replace"))

    def test_an_estimate_is_not_below_the_count_of_a_real_tokenizer(self) -> None:
        minilm = load(Model(packaged.MINILM, revision=packaged.MINILM_REVISION, dimensions=384))
        prose = Path(__file__).parents[2] / "docs" / "how-it-works.md"
        code = Path(provider.__file__)
        for file in (prose, code):
            text = file.read_text()
            assert 1.05 <= Estimate().count(text) / minilm.count_tokens(text) < 1.5


class TestLoading:
    def test_a_missing_library_is_told_how_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "httpx", None)
        with pytest.raises(ModelUnavailable) as caught:
            load(Model("m", provider="openai", dimensions=8, url="http://127.0.0.1:9/v1"))
        assert caught.value.hint == 'Install them: pip install "pgsearch[http]"'

    @pytest.mark.parametrize(
        ("name", "value"), [("SSL_CERT_FILE", "/nowhere.pem"), ("HTTP_PROXY", "gopher://host")]
    )
    def test_surroundings_that_cannot_work_are_named(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(ModelUnavailable, match="as it is set up here") as caught:
            provider.load(Model("m", provider="openai", dimensions=8, url="http://127.0.0.1:9"))
        assert name.replace("HTTP_", "") in str(caught.value.hint)

    def test_nobody_else_pays_for_the_library(self) -> None:
        script = (
            "import sys, pgsearch.models, pgsearch.testing\n"
            "pgsearch.models.load(pgsearch.testing.hash_model())\n"
            "print(json.dumps(sorted({'httpx', 'numpy', 'torch', 'pytest'} & sys.modules.keys())))"
        )
        run = subprocess.run(
            [sys.executable, "-c", f"import json\n{script}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(run.stdout) == []

    def test_loading_asks_nothing_of_the_endpoint(
        self, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = Model("m", provider="openai", dimensions=DIMENSIONS, url=server.url)
        assert load(model) is load(model)
        assert server.requests == []

    def test_an_address_may_stand_in_the_environment(
        self, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TEI_URL", server.url)
        named = Model("m", provider="openai", dimensions=DIMENSIONS, url="TEI_URL")
        assert provider.load(named).embed_documents(["it"]) == expected("it")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
        unnamed = Model("m", provider="openai", dimensions=DIMENSIONS)
        assert provider.load(unnamed).embed_documents(["it"]) == expected("it")
        monkeypatch.delenv("TEI_URL")
        with pytest.raises(ModelUnavailable, match="TEI_URL, is not set"):
            provider.load(named)

    @pytest.mark.parametrize(
        ("below", "asked"),
        [
            ("", "/v1/embeddings"),
            ("/", "/v1/embeddings"),
            ("/embeddings", "/v1/embeddings"),
            ("/deployments/small?api-version=3", "/v1/deployments/small/embeddings?api-version=3"),
        ],
    )
    def test_the_address_is_that_of_the_api_or_of_its_embeddings(
        self, server: EmbeddingServer, below: str, asked: str
    ) -> None:
        model = Model("m", provider="openai", dimensions=DIMENSIONS, url=server.url + below)
        provider.load(model).embed_documents(["it"])
        assert server.requests[0].path == asked

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PGSEARCH_REQUESTS", "many"),
            ("PGSEARCH_REQUEST_TEXTS", "0"),
            ("PGSEARCH_REQUEST_TIMEOUT", "-1"),
            ("PGSEARCH_PROCESSES", "1.5"),
        ],
    )
    def test_a_setting_that_is_no_number_is_named(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(ModelUnavailable, match=f"{name} is '{value}'"):
            provider.load(Model("m", provider="openai", dimensions=8, url="http://127.0.0.1:9"))

    def test_settings_come_from_the_environment(self) -> None:
        assert Machine.from_environment({}) == Machine()
        assert Machine.from_environment(
            {
                "PGSEARCH_DEVICE": "cuda:0, cuda:1",
                "PGSEARCH_REQUESTS": "8",
                "PGSEARCH_REQUEST_TEXTS": "100",
                "PGSEARCH_REQUEST_TIMEOUT": " 5 ",
            }
        ) == Machine(("cuda:0", "cuda:1"), processes=2, requests=8, request_texts=100, timeout_s=5)
