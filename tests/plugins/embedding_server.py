"""A real HTTP server on this machine that speaks OpenAI's embeddings API, well or badly."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pgsearch.testing import HashEmbedder


@dataclass(frozen=True)
class Request:
    """What a client has sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        return list(self.body["input"])


@dataclass(frozen=True)
class Answer:
    """What the server says; `cut` closes the connection after so many bytes of the body."""

    status: int = 200
    body: dict[str, Any] | str = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: int | None = None

    @property
    def content(self) -> bytes:
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


def refusal(status: int, message: str, **more: str) -> Answer:
    """Return an error in OpenAI's form."""
    return Answer(status, {"error": {"message": message, "type": "invalid_request_error", **more}})


Behaviour = Callable[[Request], Answer | None]


class EmbeddingServer:
    """Serves the vectors of a HashEmbedder unless `behave` says something else.

    Args:
        url: Its address, up to /v1.
        dimensions: Length of its vectors.
    """

    def __init__(self, url: str, dimensions: int) -> None:
        self.url = url
        self.embedder = HashEmbedder(dimensions)
        self.behave: Behaviour = lambda request: None
        self.requests: list[Request] = []
        self.most_at_a_time = 0
        self._at_a_time = 0
        self._lock = threading.Lock()

    def script(self, *answers: Answer | None) -> None:
        """Give these answers, one after the other, and then the right ones."""
        left = iter(answers)
        self.behave = lambda request: next(left, None)

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            self._at_a_time += 1
            self.most_at_a_time = max(self.most_at_a_time, self._at_a_time)
            answer = self.behave(request)
        answer = self.embedded(request) if answer is None else answer
        time.sleep(answer.delay_s)
        with self._lock:
            self._at_a_time -= 1
        return answer

    def embedded(self, request: Request, delay_s: float = 0.0) -> Answer:
        """Return the vectors asked for, in the form asked for, in any order."""
        length = request.body.get("dimensions")
        rows = []
        for index, vector in enumerate(self.embedder.embed_documents(request.texts)):
            values = vector.to_list()[:length]
            written: Any = values
            if request.body.get("encoding_format") == "base64":
                written = base64.b64encode(vector.to_numpy()[:length].astype("<f4")).decode()
            rows.append({"object": "embedding", "index": index, "embedding": written})
        random.shuffle(rows)
        return Answer(body={"object": "list", "data": rows}, delay_s=delay_s)


@contextmanager
def serving(dimensions: int = 16) -> Iterator[EmbeddingServer]:
    """Run a server of one's own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = server.answer(Request(self.path, headers, body))
            content = answer.content
            if answer.cut == 0:
                self.close_connection = True
                return
            self.send_response_only(answer.status)  # without a Date
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: answer.cut])
            self.close_connection = answer.cut is not None

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # the client has had enough
                super().handle()

    # A client that opens more connections than this at once waits for a second.
    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as listening:
        server = EmbeddingServer(f"http://127.0.0.1:{listening.server_address[1]}/v1", dimensions)
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
