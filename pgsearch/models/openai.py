"""Models behind an HTTP endpoint that speaks OpenAI's embeddings API.

OpenAI has made the form; vLLM, Ollama, text-embeddings-inference, LiteLLM and most others that
serve embeddings speak it, each in its own dialect.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from http import HTTPStatus
from typing import Any, Final

from pgvector import Vector

from pgsearch import address
from pgsearch.declare import Model
from pgsearch.errors import EmbeddingFailed, ModelError, ModelUnavailable
from pgsearch.models import key
from pgsearch.models.answer import Unreadable, vectors
from pgsearch.models.endpoint import ATTEMPTS, Endpoint, Failing, Refused
from pgsearch.models.machine import Machine
from pgsearch.models.tokens import Estimate, NamedTokenizer

__all__ = ["OpenAIEmbedder", "load"]

_OPENAI_URL: Final = "https://api.openai.com/v1"
_OPENAI_URL_VARIABLE: Final = "OPENAI_BASE_URL"
_OPENAI_KEY: Final = "OPENAI_API_KEY"

#: The window of OpenAI's models, in tokens.
_MAX_TOKENS: Final = 8191

#: Most tokens in a request, by the estimate. OpenAI takes 300,000.
_REQUEST_TOKENS: Final = 100_000

#: Requests are not made smaller than this many texts only to send more of them at a time.
_SMALLEST_SHARE: Final = 16

#: Vectors that are kept for the next call where a request beside theirs has failed.
_MAX_KEPT: Final = 4096

#: Asked for when a request fails. If it is answered, the endpoint is well.
_HARMLESS: Final = "The river floods every spring."

#: How servers put it that a request has too many texts.
_TOO_MANY: Final = re.compile(r"(?i)\bbatch|too many|array length|per request")

#: Half the size of numbers in JSON, and read in a tenth of the time.
_IN_BASE64: Final = {"encoding_format": "base64"}

#: Statuses of servers that do not know the parameter for it.
_UNKNOWN_FORM: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.NOT_IMPLEMENTED,
    }
)


def load(model: Model) -> OpenAIEmbedder:
    """Return the embedder of a declared model; nothing is asked of its endpoint yet.

    Raises:
        ModelUnavailable: The library httpx is not installed, the key is not set, or the
            address or the tokenizer cannot be used.
    """
    try:
        import httpx  # noqa: F401
        import numpy  # noqa: F401
    except ImportError as error:
        raise ModelUnavailable(
            f"Model {model.name!r} needs the libraries httpx and numpy: {error}.",
            hint='Install them: pip install "pgsearch[http]"',
        ) from error
    return OpenAIEmbedder(model, Machine.from_environment())


class OpenAIEmbedder:
    """A model behind an endpoint as an Embedder; threads may share it.

    Args:
        model: The declaration.
        machine: How many requests are sent at a time, and how large.
    """

    def __init__(self, model: Model, machine: Machine) -> None:
        self._model = model
        url = _url(model)
        self._key_variable = _key_variable(model, url)
        required = model.key_variable is not None
        self._key = key.read(self._key_variable, model.name, required=required)
        self._endpoint = Endpoint(
            address.join(url, "/embeddings"),
            self._key,
            model_name=model.name,
            timeout_s=machine.timeout_s,
        )
        self._threads = ThreadPoolExecutor(machine.requests, thread_name_prefix="pgsearch-embed")
        self._requests = machine.requests
        self._most_texts = machine.request_texts
        # Whether the endpoint knows vectors in base64; None until it has answered.
        self._base64: bool | None = None
        self._kept: dict[str, Vector] = {}
        self._estimate = Estimate()
        self._tokens: Estimate | NamedTokenizer = self._estimate
        window = model.max_tokens or _MAX_TOKENS
        if model.tokenizer is not None:
            self._tokens = NamedTokenizer(model.tokenizer)
            window -= self._tokens.special
        self._window = window
        self.dimensions = model.dimensions
        self.max_tokens = window - self._tokens.count(model.document_prompt)
        if self.max_tokens < 1:
            raise ModelUnavailable(
                f"Model {model.name!r} sees {window} tokens, which its document prompt fills: "
                "no room is left for a text.",
                hint="Shorten document_prompt.",
            )

    def count_tokens(self, text: str) -> int:
        """Return how many tokens of the window a text takes; an estimate without a tokenizer."""
        return self._tokens.count(text)

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of passages, the document prompt put in front of each.

        Raises:
            Throttled: The endpoint asks to wait.
            EmbeddingFailed: The endpoint answers, but not these texts.
            ModelUnavailable: The endpoint cannot be reached, or serves nothing.
            ModelMismatch: Its vectors are not as declared, or not one for each text.
        """
        return self._embed(self._model.document_prompt, texts)

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of queries, the query prompt put in front of each.

        Raises:
            Throttled: The endpoint asks to wait.
            EmbeddingFailed: The endpoint answers, but not these texts.
            ModelUnavailable: The endpoint cannot be reached, or serves nothing.
            ModelMismatch: Its vectors are not as declared, or not one for each text.
        """
        return self._embed(self._model.query_prompt, texts)

    def _embed(self, prompt: str, texts: Sequence[str]) -> list[Vector]:
        inputs = [self._cut(prompt + text) for text in texts]
        known: dict[str, Vector] = {}
        for text in inputs:
            if (vector := self._kept.pop(text, None)) is not None:
                known[text] = vector
        wanted = [text for text in dict.fromkeys(inputs) if text not in known]
        try:
            self._request_all(list(self._requests_of(wanted)), known)
        except Exception:
            # What was paid for is kept: the same texts come again, fewer at a time or later.
            room = max(0, _MAX_KEPT - len(self._kept))
            self._kept.update(list(known.items())[:room])
            raise
        return [known[text] for text in inputs]

    def _cut(self, text: str) -> str:
        """Return what of a text lies in the window; endpoints refuse a longer one."""
        if len(text.encode("utf-8", "replace")) <= self._window:  # no token is less than a byte
            return text
        return self._tokens.cut(text, self._window)

    def _requests_of(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """Yield the texts of each request: a fair share, but neither too many nor too long."""
        share = max(_SMALLEST_SHARE, -(-len(texts) // self._requests))
        most = min(share, self._most_texts)
        longest = max((len(text.encode("utf-8", "replace")) for text in texts), default=0)
        if most * longest <= _REQUEST_TOKENS:  # no token is less than a byte
            for start in range(0, len(texts), most):
                yield list(texts[start : start + most])
            return
        request: list[str] = []
        tokens = 0
        for text in texts:
            count = self._estimate.count(text)
            if request and (len(request) == most or tokens + count > _REQUEST_TOKENS):
                yield request
                request, tokens = [], 0
            request.append(text)
            tokens += count
        if request:
            yield request

    def _request_all(self, requests: Sequence[list[str]], known: dict[str, Vector]) -> None:
        """Send requests, a few at a time, and add their vectors to those known.

        Raises what the first of those that failed has raised, after the others have ended.
        """
        if len(requests) == 1:  # a query, mostly: it does not wait for a thread
            known.update(zip(requests[0], self._request(requests[0]), strict=True))
            return
        sent = [self._threads.submit(self._request, request) for request in requests]
        wait(sent, return_when=FIRST_EXCEPTION)
        for future in sent:
            future.cancel()
        wait(sent)
        errors = []
        for request, future in zip(requests, sent, strict=True):
            if future.cancelled():
                continue
            error = future.exception()
            if error is None:
                known.update(zip(request, future.result(), strict=True))
            else:
                errors.append(error)
        if errors:
            raise errors[0]

    def _request(self, texts: list[str]) -> list[Vector]:
        """Return the vectors of the texts of one request, or find out what is to blame."""
        try:
            return self._ask(texts)
        except Refused as refused:
            if len(texts) > 1 and _is_too_many(refused):
                middle = len(texts) // 2
                self._most_texts = min(self._most_texts, middle)
                return self._request(texts[:middle]) + self._request(texts[middle:])
            raise self._blamed(refused, texts) from refused
        except Failing as failing:
            raise self._blamed(failing, texts) from failing

    def _blamed(self, error: Refused | Failing, texts: Sequence[str]) -> ModelError:
        """Return an error that says whether the texts are to blame or the endpoint.

        A harmless text tells: where it is not answered either, no text can be.
        """
        try:
            self._ask([_HARMLESS], attempts=1)
        except (Refused, Failing):
            return ModelUnavailable(error.message, hint=self._hint(error))
        return EmbeddingFailed(
            error.message,
            hint=f"It answers others: look at the text {texts[0][:60]!r}."
            if len(texts) == 1
            else f"It answers others: look at these {len(texts)} texts.",
        )

    def _ask(self, texts: list[str], *, attempts: int = ATTEMPTS) -> list[Vector]:
        body: dict[str, Any] = {"model": self._model.name, "input": texts}
        if self._model.truncate:
            body["dimensions"] = self._model.dimensions
        answer = None
        if self._base64 is not False:
            try:
                answer = self._endpoint.post(body | _IN_BASE64, attempts=attempts)
                self._base64 = True
            except Refused as refused:
                if self._base64 or refused.status not in _UNKNOWN_FORM:
                    raise
        if answer is None:
            answer = self._endpoint.post(body, attempts=attempts)
            self._base64 = False
        try:
            return vectors(answer, texts, self._model)
        except Unreadable as error:
            raise self._endpoint.unreadable(answer, error) from error

    def _hint(self, error: Refused | Failing) -> str:
        status = error.status if isinstance(error, Refused) else None
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            if self._key_variable is None:
                return (
                    "No key was sent, for the model names none: write key_variable='…', the "
                    "name of the environment variable that holds it."
                )
            return f"Look at the environment variable {self._key_variable}, which holds the key" + (
                ", where this runs." if self._key.is_set else ": it is not set where this runs."
            )
        if status == HTTPStatus.NOT_FOUND:
            return "Look at the model's name and at its url, which mostly ends in /v1."
        return "No text is to blame: all of them wait until the endpoint answers again."


def _is_too_many(refused: Refused) -> bool:
    return refused.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or bool(
        _TOO_MANY.search(refused.message)
    )


def _url(model: Model) -> str:
    """Return where the endpoint is.

    Raises:
        ModelUnavailable: An environment variable should say so and does not.
    """
    variable = _OPENAI_URL_VARIABLE if model.url is None else model.url
    if not address.VARIABLE.fullmatch(variable):
        return variable
    url = os.environ.get(variable, "").strip()
    if not url and model.url is None:
        return _OPENAI_URL
    reason = address.flaw(url) if url else "is not set"
    if reason is not None:
        raise ModelUnavailable(
            f"The url of model {model.name!r}, the environment variable {variable}, {reason}.",
            hint=f"Set {variable} to one such as https://tei.internal/v1.",
        )
    return url


def _key_variable(model: Model, url: str) -> str | None:
    """Return which environment variable holds the key.

    OpenAI's key goes to no other address that a model names, unless the model says so.
    """
    if model.key_variable is not None:
        return model.key_variable
    is_openai = model.url is None or address.host(url) == address.host(_OPENAI_URL)
    return _OPENAI_KEY if is_openai else None
