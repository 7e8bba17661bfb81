"""Models behind an HTTP endpoint that answers late, badly, or not at all; and their keys."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from pgsearch import Model
from pgsearch.errors import (
    DeclarationError,
    EmbeddingFailed,
    Error,
    ModelUnavailable,
    Throttled,
)
from pgsearch.models import endpoint
from pgsearch.models import openai as provider
from pgsearch.models.key import Key
from pgsearch.models.machine import Machine
from pgsearch.models.openai import OpenAIEmbedder
from pgsearch.testing import HashEmbedder
from tests.plugins.embedding_server import Answer, EmbeddingServer, Request, refusal, serving

DIMENSIONS = 16

#: Of the form that OpenAI's have.
KEY = "sk-proj-abcdEFGH1234567890ijklMNOP_qrst-uvwx"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingServer]:
    monkeypatch.setattr(endpoint, "_FIRST_PAUSE_S", 0.01)
    with serving(DIMENSIONS) as server:
        yield server


def embedder(server: EmbeddingServer, **settings: int) -> OpenAIEmbedder:
    model = Model("m", provider="openai", dimensions=DIMENSIONS, url=server.url)
    return OpenAIEmbedder(model, Machine(**settings))  # type: ignore[arg-type]


def expected(*texts: str) -> list[Any]:
    return HashEmbedder(DIMENSIONS).embed_documents(texts)


def raised(server: EmbeddingServer, *texts: str, **settings: int) -> Error:
    with pytest.raises(Error) as caught:
        embedder(server, **settings).embed_documents(texts or ("a text",))
    return caught.value


class TestFaults:
    @pytest.mark.parametrize(
        "fault",
        [
            Answer(500, {"error": {"message": "CUDA error"}}),
            Answer(502, "<html>Bad gateway</html>"),
            Answer(503),
            Answer(408),
            Answer(409),
            Answer(200, "<html><title>Sign in</title></html>"),
            Answer(200, '{"data": [{"index": 0, "embed'),
            Answer(cut=0),
            Answer(200, '{"data": []}', cut=4),
        ],
        ids=["500", "502", "503", "408", "409", "page", "half", "no answer", "cut"],
    )
    def test_what_may_pass_is_tried_again(self, server: EmbeddingServer, fault: Answer) -> None:
        server.script(fault, fault)
        assert embedder(server).embed_documents(["a text"]) == expected("a text")
        assert len(server.requests) == 3

    def test_an_endpoint_that_goes_on_failing_is_unavailable(self, server: EmbeddingServer) -> None:
        server.behave = lambda request: Answer(500, {"error": "the GPU has fallen off the bus"})
        error = raised(server)
        assert isinstance(error, ModelUnavailable)
        assert "the GPU has fallen off the bus" in error.message
        assert server.url in error.message
        assert "'m'" in error.message
        # Three times for the text, and once for a harmless one.
        assert len(server.requests) == 4

    def test_a_text_that_an_endpoint_cannot_take_is_told_from_an_endpoint_that_is_down(
        self, server: EmbeddingServer
    ) -> None:
        # As Ollama does, with a model that makes NaN of some text.
        server.behave = lambda request: (
            Answer(500, {"error": "json: unsupported value: NaN"})
            if "poison" in request.texts
            else None
        )
        error = raised(server, "poison")
        assert type(error) is EmbeddingFailed
        assert "json: unsupported value: NaN" in error.message
        assert "'poison'" in str(error.hint)

    def test_a_refused_text_has_the_message_of_the_endpoint(self, server: EmbeddingServer) -> None:
        message = "This model's maximum context length is 8192 tokens, you requested 10001 tokens."
        server.behave = lambda request: refusal(400, message) if "poison" in request.texts else None
        error = raised(server, "food", "poison", "drink")
        assert type(error) is EmbeddingFailed
        assert message in error.message
        assert embedder(server).embed_documents(["food", "drink"]) == expected("food", "drink")

    @pytest.mark.parametrize(
        ("status", "hint"),
        [
            (400, "No text is to blame"),
            (401, "key_variable"),
            (402, "No text is to blame"),
            (403, "key_variable"),
            (404, "mostly ends in /v1"),
            (405, "No text is to blame"),
        ],
    )
    def test_an_endpoint_that_refuses_everything_is_unavailable(
        self, server: EmbeddingServer, status: int, hint: str
    ) -> None:
        server.behave = lambda request: refusal(status, "not for you")
        error = raised(server)
        assert isinstance(error, ModelUnavailable)
        assert f"{status} " in error.message
        assert "not for you" in error.message
        assert hint in str(error.hint)
        # What will not pass is not tried again.
        assert len(server.requests) <= 4

    def test_a_firewall_that_takes_a_text_for_an_attack_refuses_only_that_text(
        self, server: EmbeddingServer
    ) -> None:
        server.behave = lambda request: (
            Answer(403, "<html><style>b{}</style><b>Blocked</b> by a rule</html>")
            if any("UNION SELECT" in text for text in request.texts)
            else None
        )
        error = raised(server, "1 UNION SELECT 2")
        assert type(error) is EmbeddingFailed
        assert error.message.endswith("answered with 403 Forbidden: Blocked by a rule")

    def test_an_endpoint_that_is_not_there_is_unavailable(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(endpoint, "_FIRST_PAUSE_S", 0.01)
        with serving() as server:
            pass
        error = raised(server)
        assert isinstance(error, ModelUnavailable)
        assert "ConnectError" in error.message

    def test_a_silent_endpoint_is_given_up(self, server: EmbeddingServer) -> None:
        server.behave = lambda request: Answer(delay_s=1.5)
        model = Model("m", provider="openai", dimensions=DIMENSIONS, url=server.url)
        impatient = OpenAIEmbedder(model, Machine(timeout_s=0.1))
        start = time.perf_counter()
        with pytest.raises(ModelUnavailable, match="Timeout"):
            impatient.embed_documents(["it"])
        assert time.perf_counter() - start < 1.5

    @pytest.mark.parametrize(
        "body", ["[]", '{"data": 1}', '{"data": [{}]}', '{"data": [{"embedding": null}]}', "null"]
    )
    def test_json_of_another_form_is_no_answer(self, server: EmbeddingServer, body: str) -> None:
        server.behave = lambda request: Answer(200, body)
        assert isinstance(raised(server), ModelUnavailable)

    def test_an_error_that_comes_as_a_success_is_read(self, server: EmbeddingServer) -> None:
        # As some gateways do.
        server.behave = lambda request: Answer(200, {"error": {"message": "no provider left"}})
        assert "no provider left" in raised(server).message

    @pytest.mark.parametrize(
        "body",
        [
            {"error": {"message": "told you"}},
            {"error": "told you"},
            {"message": "told you"},
            {"detail": [{"loc": ["body"], "msg": "told you"}]},
            {"detail": "told you"},
            {"object": "error", "message": "told you"},
            "told you",
        ],
    )
    def test_errors_are_read_in_every_form_that_servers_have(
        self, server: EmbeddingServer, body: dict[str, Any] | str
    ) -> None:
        server.behave = lambda request: Answer(400, body)
        assert raised(server).message.endswith("answered with 400 Bad Request: told you")

    def test_a_redirection_is_not_followed(self, server: EmbeddingServer) -> None:
        with serving() as other:
            answer = Answer(307, headers={"Location": f"{other.url}/embeddings"})
            server.behave = lambda request: answer
            assert other.url in raised(server).message
            assert other.requests == []

    def test_what_was_paid_for_is_not_asked_for_again(self, server: EmbeddingServer) -> None:
        texts = [f"text number {n}" for n in range(64)]
        poisoned = [*texts[:40], "poison", *texts[40:]]
        server.behave = lambda request: refusal(400, "bad") if "poison" in request.texts else None
        patient = embedder(server, request_texts=16)
        with pytest.raises(EmbeddingFailed):
            patient.embed_documents(poisoned)
        answered = {
            text
            for request in server.requests
            if "poison" not in request.texts
            for text in request.texts
        } - {provider._HARMLESS}
        assert answered
        server.requests.clear()
        assert patient.embed_documents(texts) == expected(*texts)
        asked = {text for request in server.requests for text in request.texts}
        assert asked == set(texts) - answered
        # It is not kept for ever.
        server.requests.clear()
        patient.embed_documents(texts)
        assert {text for request in server.requests for text in request.texts} == set(texts)

    def test_the_harm_of_one_request_does_not_outlast_the_call(
        self, server: EmbeddingServer
    ) -> None:
        server.script(Answer(500), Answer(500), Answer(500), Answer(500))
        steady = embedder(server)
        with pytest.raises(ModelUnavailable):
            steady.embed_documents(["a text"])
        assert steady.embed_documents(["a text"]) == expected("a text")


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


class TestThrottling:
    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"Retry-After": "30"}, 30),
            ({"Retry-After": "7.5"}, 7.5),
            ({"retry-after-ms": "4500", "Retry-After": "5"}, 4.5),
            ({"Retry-After": "86400"}, 3600),
        ],
    )
    def test_the_endpoint_says_how_long_to_wait(
        self, server: EmbeddingServer, status: int, headers: dict[str, str], seconds: float
    ) -> None:
        server.behave = lambda request: Answer(status, {"error": "slow down"}, headers)
        error = raised(server)
        assert isinstance(error, Throttled)
        assert error.retry_after == seconds
        assert "slow down" in error.message
        assert len(server.requests) == 1

    def test_the_endpoint_names_a_time_of_its_own_clock(self, server: EmbeddingServer) -> None:
        headers = {"Retry-After": in_seconds(60)}
        server.behave = lambda request: Answer(429, headers=headers)
        error = raised(server)
        assert isinstance(error, Throttled)
        assert error.retry_after == pytest.approx(60, abs=3)
        # One that is an hour slow, and shows it.
        headers = {"Date": in_seconds(-3600), "Retry-After": in_seconds(-3550)}
        server.behave = lambda request: Answer(429, headers=headers)
        assert raised(server).retry_after == pytest.approx(50, abs=3)  # type: ignore[attr-defined]

    @pytest.mark.parametrize("value", ["soon", "nan", "inf", "", "99999999999999999 Nov"])
    def test_a_time_that_nobody_can_read_is_none(self, server: EmbeddingServer, value: str) -> None:
        server.behave = lambda request: Answer(429, headers={"Retry-After": value})
        error = raised(server)
        assert isinstance(error, Throttled)
        assert error.retry_after is None

    def test_a_short_pause_is_waited_out(self, server: EmbeddingServer) -> None:
        server.script(Answer(429, headers={"Retry-After": "0.1"}), Answer(429))
        start = time.perf_counter()
        assert embedder(server).embed_documents(["a text"]) == expected("a text")
        assert time.perf_counter() - start >= 0.1
        assert len(server.requests) == 3

    def test_but_not_over_and_over(self, server: EmbeddingServer) -> None:
        server.behave = lambda request: Answer(429, headers={"Retry-After": "0"})
        error = raised(server)
        assert isinstance(error, Throttled)
        assert error.retry_after == 0
        assert len(server.requests) == 3

    def test_an_account_without_credit_is_not_waited_for(self, server: EmbeddingServer) -> None:
        server.behave = lambda request: refusal(
            429, "You exceeded your current quota.", code="insufficient_quota"
        )
        error = raised(server)
        assert isinstance(error, ModelUnavailable)
        assert "You exceeded your current quota." in error.message

    def test_throttling_while_looking_for_the_culprit_blames_nobody(
        self, server: EmbeddingServer
    ) -> None:
        server.script(refusal(400, "bad"), refusal(400, "bad"), Answer(429))
        assert isinstance(raised(server), Throttled)


class TestKeys:
    @pytest.fixture(autouse=True)
    def key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("MY_KEY", "another-key-of-mine")
        monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    def sent(self, server: EmbeddingServer, **fields: str) -> str | None:
        model = Model("m", provider="openai", dimensions=DIMENSIONS, **fields)  # type: ignore[arg-type]
        provider.load(model).embed_documents(["it"])
        return server.requests[-1].headers.get("authorization")

    def test_the_key_comes_from_the_variable_that_the_model_names(
        self, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.sent(server, url=server.url, key_variable="MY_KEY") == (
            "Bearer another-key-of-mine"
        )
        monkeypatch.setenv("MY_KEY", f" {KEY}\n")
        assert self.sent(server, url=server.url, key_variable="MY_KEY") == f"Bearer {KEY}"

    def test_openais_key_goes_to_no_other_endpoint_unless_the_model_says_so(
        self, server: EmbeddingServer
    ) -> None:
        assert self.sent(server, url=server.url) is None
        assert self.sent(server, url=server.url, key_variable="OPENAI_API_KEY") == f"Bearer {KEY}"

    def test_who_moves_openais_endpoint_by_the_environment_moves_its_key_too(
        self, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert self.sent(server) == f"Bearer {KEY}"
        monkeypatch.delenv("OPENAI_API_KEY")
        assert self.sent(server) is None

    def test_azure_gets_it_in_its_own_header_as_well(self) -> None:
        key = Key(KEY)
        assert key.headers("mine.openai.azure.com")["api-key"] == KEY
        assert key.headers("api.openai.com") == {"Authorization": f"Bearer {KEY}"}
        assert key.headers("azure.com.example.org") == {"Authorization": f"Bearer {KEY}"}
        assert Key(None).headers("mine.openai.azure.com") == {}

    def test_a_variable_that_is_named_must_be_set(
        self, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for value in (None, "", " \n"):
            if value is None:
                monkeypatch.delenv("MY_KEY")
            else:
                monkeypatch.setenv("MY_KEY", value)
            with pytest.raises(ModelUnavailable, match="MY_KEY is not set"):
                self.sent(server, url=server.url, key_variable="MY_KEY")

    def test_a_refused_key_is_named_by_its_variable(self, server: EmbeddingServer) -> None:
        server.behave = lambda request: refusal(401, "Incorrect API key provided")
        with pytest.raises(ModelUnavailable) as caught:
            self.sent(server, url=server.url, key_variable="MY_KEY")
        assert "Incorrect API key provided" in caught.value.message
        assert "MY_KEY" in str(caught.value.hint)
        with pytest.raises(ModelUnavailable) as caught:
            self.sent(server, url=server.url)
        assert "names none" in str(caught.value.hint)

    @pytest.mark.parametrize("broken", [f"{KEY}\n{KEY}", f"{KEY} {KEY}", KEY + "é", KEY + "\x00"])
    def test_a_broken_key_is_refused_without_being_shown(
        self, monkeypatch: pytest.MonkeyPatch, broken: str
    ) -> None:
        # Left to the library, its error would show the header.
        monkeypatch.setattr("os.environ", {"MY_KEY": broken})
        with pytest.raises(ModelUnavailable, match="MY_KEY holds what cannot be a key") as caught:
            provider.load(
                Model("m", provider="openai", dimensions=8, url="http://x", key_variable="MY_KEY")
            )
        assert not leaks(traceback.format_exception(caught.value))

    @pytest.mark.parametrize(
        "url",
        [
            f"https://user:{KEY}@host/v1",
            f"https://{KEY}@host/v1",
            f"https://host/v1?api-key={KEY}",
            f"https://host/v1?access_token={KEY}",
            f"https://host/v1?code={KEY}",
            f"host/{KEY}",
            f"ftp://host/{KEY}",
            f"https://[{KEY}/v1",
            f"https://host:{KEY}/v1",
            f"https://host/ {KEY}",
            KEY,
        ],
    )
    def test_an_address_that_holds_a_key_is_refused_without_being_shown(
        self, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        with pytest.raises(DeclarationError, match="its url") as declared:
            Model("m", provider="openai", dimensions=8, url=url)
        assert not leaks([str(declared.value)])
        monkeypatch.setenv("TEI_URL", url)
        with pytest.raises(ModelUnavailable, match="TEI_URL") as loaded:
            provider.load(Model("m", provider="openai", dimensions=8, url="TEI_URL"))
        assert not leaks([str(loaded.value)])

    @pytest.mark.parametrize("variable", [KEY, "0123abcd", "AKIAIOSFODNN7EXAMPLE", "my_key", ""])
    def test_a_key_in_place_of_its_variable_is_refused_without_being_shown(
        self, variable: str
    ) -> None:
        with pytest.raises(DeclarationError, match="key_variable") as caught:
            Model("m", provider="openai", dimensions=8, key_variable=variable)
        assert not variable or variable not in str(caught.value)

    @pytest.mark.parametrize(
        "echo",
        [
            KEY,
            f"Bearer {KEY}",
            f"'{KEY[:20]}'",
            KEY[10:30],
            f"x{KEY[:9]}****",
            "a" * 495 + " " + KEY,
            f"<b>{KEY}</b>",
        ],
        ids=["whole", "header", "begin", "middle", "masked", "at the end", "page"],
    )
    @pytest.mark.parametrize("status", [200, 400, 401, 429, 500, 307])
    def test_the_key_is_shown_nowhere_even_if_the_endpoint_says_it(
        self,
        server: EmbeddingServer,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
        status: int,
        echo: str,
    ) -> None:
        def echoing(request: Request) -> Answer:
            assert request.headers["authorization"] == f"Bearer {KEY}"
            location = f"http://host/{KEY}" if status == 307 else "x"
            body: dict[str, Any] | str = echo if "<" in echo else {"error": {"message": echo}}
            return Answer(status, body, {"Location": location})

        server.behave = echoing
        model = Model(
            "m",
            provider="openai",
            dimensions=DIMENSIONS,
            url=server.url,
            key_variable="OPENAI_API_KEY",
        )
        with caplog.at_level(logging.DEBUG):
            loaded = provider.load(model)
            with pytest.raises((ModelUnavailable, Throttled)) as caught:
                loaded.embed_documents([f"text {n}" for n in range(40)])
        shown = [
            *traceback.format_exception(caught.value),
            str(caught.value),
            repr(caught.value),
            repr(caught.value.args),
            repr(model),
            json.dumps(model.to_json()),
            *inside(loaded),
            *(record.getMessage() for record in caplog.records if status != 307),
            *capfd.readouterr(),
        ]
        assert not leaks(shown)


def leaks(shown: list[str]) -> list[str]:
    """Return what shows eight characters of the key in a row."""
    parts = {KEY[at : at + 8] for at in range(len(KEY) - 7)}
    return [text for text in shown if any(part in text for part in parts)]


def inside(thing: object, depth: int = 4) -> Iterator[str]:
    """Yield what a debugger or an error report shows of an object: its attributes and theirs."""
    yield repr(thing)
    if depth and hasattr(thing, "__dict__") and type(thing).__module__.startswith(("pgs", "httpx")):
        for name, value in vars(thing).items():
            if not (isinstance(thing, Key) and name == "_value"):
                yield from inside(value, depth - 1)
