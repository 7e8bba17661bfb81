"""One HTTP endpoint: requests sent, sent again, and what its answers mean.

It knows nothing of embeddings. What is answered is JSON; what is not answered is one of three:
Throttled where the endpoint asks to wait, Refused where it judges the request, and Failing where
it may be either the request or the endpoint that is to blame.
"""

from __future__ import annotations

import json
import math
import random
import re
import time
import weakref
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from pgsearch import __version__, address
from pgsearch.errors import EmbeddingFailed, ModelError, ModelUnavailable, Throttled
from pgsearch.models.answer import words
from pgsearch.models.key import Key

if TYPE_CHECKING:
    import httpx

#: How often a request is sent, the first time included.
ATTEMPTS: Final = 3

#: Seconds of the first pause between two attempts; each is twice as long, and half of it chance.
_FIRST_PAUSE_S: Final = 0.5

#: A pause that is longer is not waited out here: others have work to do meanwhile.
_PATIENCE_S: Final = 2.0

#: No endpoint is obeyed that asks for more: a wrong clock would stop the work for good.
_MAX_RETRY_AFTER_S: Final = 3600.0

_CONNECT_TIMEOUT_S: Final = 10.0

#: Statuses besides 500 and above that may pass by themselves.
_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY})

#: Error codes that come with 429 and do not pass by waiting.
_NO_CREDIT: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})

_MAX_MESSAGE_CHARS: Final = 500


class Refused(EmbeddingFailed):
    """The endpoint will not answer the request, however often it is sent.

    Args:
        message: What happened.
        status: The HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Failing(EmbeddingFailed):
    """The endpoint did not answer, or not with JSON; it may another time."""


class _Passing(Exception):
    """What may be over when the request is sent once more, and when that makes sense."""

    def __init__(self, error: ModelError, retry_after: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.retry_after = retry_after


class Endpoint:
    """One address that takes JSON and answers JSON; threads may share it.

    Args:
        url: Where requests are sent.
        key: What they are sent with.
        model_name: The model's name, for messages.
        timeout_s: Seconds that it may be silent.

    Raises:
        ModelUnavailable: The environment has a proxy or certificates that httpx cannot use.
    """

    def __init__(self, url: str, key: Key, *, model_name: str, timeout_s: float) -> None:
        import httpx

        self.url = url
        self._key = key
        self._model_name = model_name
        headers = key.headers(address.host(url))

        def sign(request: httpx.Request) -> httpx.Request:
            # Here and not among the client's headers, which its `repr` shows.
            request.headers.update(headers)
            return request

        options: dict[str, Any] = {
            "headers": {
                "Content-Type": "application/json",
                "User-Agent": f"pgsearch/{__version__}",
            },
            "timeout": httpx.Timeout(
                timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S), pool=None
            ),
            "limits": httpx.Limits(max_connections=None),
        }
        try:
            self._client = httpx.Client(auth=sign, **options)
        except (ImportError, OSError, ValueError) as error:
            raise ModelUnavailable(
                f"Model {model_name!r} cannot be reached by httpx as it is set up here: {error}",
                hint="Look at the environment variables HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE.",
            ) from error
        # Whoever forgets an embedder shall not be reminded of its connections.
        weakref.finalize(self, self._client.close)

    def post(self, body: Mapping[str, Any], *, attempts: int = ATTEMPTS) -> Any:
        """Send a body as JSON and return the answer's.

        Args:
            body: What is sent. Half a surrogate pair in it, which JSON in UTF-8 cannot hold, is
                sent as a question mark.
            attempts: How often it is sent if need be.

        Raises:
            Throttled: The endpoint asks to wait, for longer than is waited here.
            Refused: It does not accept the request.
            Failing: It did not answer, or not with JSON.
        """
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        for attempt in range(1, attempts + 1):
            try:
                return self._once(content)
            except _Passing as passing:
                pause = passing.retry_after
                if pause is None:
                    pause = _FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311
                if attempt == attempts or pause > _PATIENCE_S:
                    raise passing.error from passing.__cause__
            time.sleep(pause)
        raise AssertionError("unreachable")

    def unreadable(self, answer: Any, reason: object) -> Failing:
        """Return the error that an answer is JSON, and yet not what was asked for."""
        return Failing(self._message(f"answered with something else ({reason}): {words(answer)}"))

    def _once(self, content: bytes) -> Any:
        import httpx

        try:
            response = self._client.post(self.url, content=content)
        except httpx.RequestError as error:
            told = f"{type(error).__name__}: {error}".rstrip(": ")
            raise _Passing(Failing(self._message(f"did not answer: {told}"))) from error
        if response.is_success:
            try:
                return response.json()
            except ValueError as error:
                told = f"answered with something other than JSON: {_told(response)}"
                raise _Passing(Failing(self._message(told))) from error
        raise self._failure(response)

    def _failure(self, response: httpx.Response) -> Exception:
        """Return what an answer that is no success means."""
        status = response.status_code
        named = f"{status} {response.reason_phrase}".strip()
        message = self._message(f"answered with {named}: {_told(response)}")
        retry_after = _retry_after(response)
        throttled = status == HTTPStatus.TOO_MANY_REQUESTS and _code(response) not in _NO_CREDIT
        if throttled or (status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after is not None):
            error = Throttled(
                message,
                hint="Nothing is wrong with the texts: they are embedded later. If it lasts, "
                "lower PGSEARCH_REQUESTS or have the limit raised.",
                retry_after=retry_after,
            )
            return _Passing(error, retry_after)
        lasting = status == HTTPStatus.NOT_IMPLEMENTED
        if status in _PASSING or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and not lasting):
            return _Passing(Failing(message))
        return Refused(message, status)

    def _message(self, what: str) -> str:
        # First without the key, then short: a part of it might be left otherwise.
        short = " ".join(self._key.redact(what).split())[:_MAX_MESSAGE_CHARS]
        return f"The endpoint {self.url} of model {self._model_name!r} {short}"


def _told(response: httpx.Response) -> str:
    """Return what an answer says in words, from any of the forms that servers give it."""
    if response.is_redirect:
        return f"it points to {response.headers.get('location', 'nowhere')}"
    try:
        found = words(response.json())
    except ValueError:
        # A page of a proxy: without its scripts and tags.
        found = re.sub(r"(?is)<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", response.text)
    return found.strip() or "nothing more"


def _code(response: httpx.Response) -> str | None:
    try:
        error = response.json()["error"]
        return error.get("code") or error.get("type")  # type: ignore[no-any-return]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _retry_after(response: httpx.Response) -> float | None:
    """Return how many seconds an answer asks to wait; None if it names no time."""
    headers = response.headers
    seconds = _number(headers.get("retry-after-ms"), 1000) or _number(headers.get("retry-after"))
    if seconds is None:
        try:
            then = parsedate_to_datetime(headers["retry-after"]).timestamp()
        except (KeyError, ValueError):
            return None
        try:
            # By the endpoint's clock, if it shows it: ours may be wrong.
            now = parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError):
            now = time.time()
        seconds = then - now
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)


def _number(text: str | None, parts: int = 1) -> float | None:
    try:
        number = float(text or "") / parts
    except ValueError:
        return None
    return number if math.isfinite(number) else None
