"""An endpoint that speaks OpenAI's embeddings API and costs next to nothing.

It runs in a process of its own. A hash of each text picks one of some vectors, which are written
out beforehand in both forms that clients ask for: numbers in JSON, and base64. So what is measured
against it is what a client does with vectors, and not how they are made.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from array import array
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from math import hypot
from random import Random
from typing import Any, Final
from zlib import crc32

import click

from bench.processes import Process

#: How many vectors there are. More texts than that share them.
_VECTORS: Final = 1000

_END_OF_HEADERS: Final = b"\r\n\r\n"


class Vectors:
    """Unit vectors, and the answers made of them.

    Args:
        dimensions: Length of a vector.
        count: How many different ones there are.
    """

    def __init__(self, dimensions: int, count: int = _VECTORS) -> None:
        random = Random(1)
        self.dimensions = dimensions
        self._count = count
        self._base64: list[bytes] = []
        self._numbers: list[bytes] = []
        for _ in range(count):
            values = [random.gauss(0, 1) for _ in range(dimensions)]
            length = hypot(*values)
            unit = array("f", [value / length for value in values])
            if sys.byteorder == "big":
                unit.byteswap()
            self._base64.append(b'"' + b64encode(unit.tobytes()) + b'"')
            # Nine digits tell every float32 from its neighbours.
            self._numbers.append(f"[{','.join(f'{value:.9g}' for value in unit)}]".encode())

    def answer(self, body: dict[str, Any]) -> bytes:
        """Return the JSON that answers a request.

        Raises:
            ValueError: The request is not of the form that the API has.
        """
        texts = body.get("input")
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError("input is neither a text nor a list of texts")
        if body.get("dimensions", self.dimensions) != self.dimensions:
            raise ValueError(f"there are vectors of {self.dimensions} dimensions only")
        known = self._base64 if body.get("encoding_format") == "base64" else self._numbers
        rows = b",".join(
            b'{"object":"embedding","index":%d,"embedding":%b}'
            % (index, known[crc32(text.encode()) % self._count])
            for index, text in enumerate(texts)
        )
        tokens = sum(map(len, texts)) // 4
        return (
            b'{"object":"list","data":[%b],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}}'
            % (rows, json.dumps(body.get("model", "")).encode(), tokens, tokens)
        )


class _Client(asyncio.Protocol):
    """One connection, which is kept open; its requests are answered one after the other."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(_END_OF_HEADERS)) >= 0:
            start = end + len(_END_OF_HEADERS)
            length = _content_length(bytes(self._received[:end]))
            if len(self._received) < start + length:
                return
            content = bytes(self._received[start : start + length])
            del self._received[: start + length]
            self._transport.write(self._answer(content))

    def _answer(self, content: bytes) -> bytes:
        try:
            return _response(HTTPStatus.OK, self._vectors.answer(json.loads(content)))
        except ValueError as error:
            told = {"error": {"message": str(error), "type": "invalid_request_error"}}
            return _response(HTTPStatus.BAD_REQUEST, json.dumps(told).encode())


def _content_length(headers: bytes) -> int:
    """Return how long the body is that follows some headers; 0 if they do not say."""
    for line in headers.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def _response(status: HTTPStatus, content: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


@contextmanager
def serving(dimensions: int) -> Iterator[str]:
    """Run an endpoint in a process of its own; yield its URL, up to /v1.

    Raises:
        Error: It did not start.
    """
    command = [sys.executable, "-m", __name__, str(dimensions)]
    with Process("the endpoint", command) as process:
        yield f"http://127.0.0.1:{process.read()}/v1"


async def _serve(dimensions: int) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    vectors = Vectors(dimensions)
    server = await loop.create_server(lambda: _Client(vectors), "127.0.0.1", 0, backlog=64)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)

        def await_end() -> None:
            # Whoever has started it holds the other end.
            sys.stdin.read()
            loop.call_soon_threadsafe(stopping.set)

        threading.Thread(target=await_end, daemon=True).start()
        await stopping.wait()


@click.command()
@click.argument("dimensions", type=click.IntRange(min=1))
def main(dimensions: int) -> None:
    """Serve vectors of some DIMENSIONS; print the port; end when standard input does."""
    asyncio.run(_serve(dimensions))


if __name__ == "__main__":
    main()
