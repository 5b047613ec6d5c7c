"""What the server takes on at once: rates of clients, inferences, jobs, bytes of a body and the time it takes.

More than that is refused at once (429 and when to come back), so that memory does not grow with demand.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h11
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.requests import Request

BUCKETS = 4096
"""So many clients' rates are remembered, the latest ones."""


class Rejected(Exception):
    """A request that is not served: its HTTP status, why, and when to come back.

    Args:
        status: HTTP status code.
        error: in words.
        retry_after_s: seconds, for 429 and 503.
        headers: further ones of the answer.
    """

    def __init__(
        self, status: int, error: str, *, retry_after_s: float | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status, self.error = status, error
        self.headers = dict(headers or {})
        if status in (408, 413):
            self.headers["Connection"] = "close"  # what is left of the body is nobody's business
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))


class Rates:
    """Token buckets, one a client: `rate` requests a second on the average, `burst` at once.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, rate: float | None, burst: int) -> None:
        """Count one request.

        Raises:
            Rejected: 429, too many.
        """
        if rate is None:
            return
        now = self._clock()
        tokens, then = self._buckets.pop(client, (float(burst), now))
        tokens = min(float(burst), tokens + (now - then) * rate)
        enough = tokens >= 1
        self._buckets[client] = (tokens - 1 if enough else tokens, now)
        if len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        if not enough:
            raise Rejected(429, f"more than {rate:g} requests a second", retry_after_s=(1 - tokens) / rate)


class Slots:
    """At most so many at once.

    Args:
        size: how many.
    """

    def __init__(self, size: int) -> None:
        self.size, self.taken = size, 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take one while the block runs.

        Raises:
            Rejected: 429, none is free.
        """
        if self.taken >= self.size:
            raise Rejected(429, f"{self.size} requests are being answered already", retry_after_s=1)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Reading:
    """Bodies that are being read: at most so many bytes of them all.

    Args:
        body_bytes: of one body.
        body_s: seconds that one may take.
        total_bytes: of all that have not come to their end.
    """

    def __init__(self, body_bytes: int, body_s: float, total_bytes: int) -> None:
        self.body_bytes, self.body_s, self.total_bytes = body_bytes, body_s, max(body_bytes, total_bytes)
        self.taken = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """A share of the total, given back at the block's end: a function that takes more bytes.

        Raises:
            Rejected: 429, by that function.
        """
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            if self.taken + count > self.total_bytes:
                raise Rejected(429, "too many large requests at once", retry_after_s=2)
            mine += count
            self.taken += count

        try:
            yield take
        finally:
            self.taken -= mine


async def read_body(request: Request, reading: Reading, max_bytes: int | None = None) -> bytes:
    """The body of a request, refused as soon as it is too long or too late.

    Args:
        request: whose body.
        reading: the server's bounds.
        max_bytes: a lower bound of this route's own.

    Raises:
        Rejected: 413, 408, 429 where too much is being read already, or 400 where the client went away.
    """
    max_bytes = min(reading.body_bytes, max_bytes or reading.body_bytes)
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_bytes:
        raise Rejected(413, f"a request has at most {max_bytes} bytes")
    chunks, size = [], 0
    try:
        with reading.share() as take:
            async with asyncio.timeout(reading.body_s):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > max_bytes:
                        raise Rejected(413, f"a request has at most {max_bytes} bytes")
                    take(len(chunk))
                    chunks.append(chunk)
    except TimeoutError:
        raise Rejected(408, f"the request did not come within {reading.body_s:g} s") from None
    except ClientDisconnect:
        raise Rejected(400, "the request broke off") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def timed(protocol: Any, seconds: float, connections: int) -> type[Any]:
    """uvicorn's protocol class with bounds of its own, and errors in the one form.

    A connection on which a request's head does not come to its end is closed. One too many is told so, whatever it
    asks (503), so that those that are there go on; at twice as many nobody is told anything any more.

    Args:
        protocol: the class to extend, on h11.
        seconds: a first head has so long, later ones up to twice that.
        connections: that are served at once.
    """

    class Timed(protocol):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > 2 * connections:
                transport.abort()
                return
            if len(self.connections) > connections:
                self.app = _full
            self._seen = self.cycle
            asyncio.get_running_loop().call_later(seconds, self._look)

        def send_400_response(self, msg: str) -> None:
            """Refuse what is no HTTP; where an answer has begun already, only end."""
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                body = _error("not a request that HTTP allows")
                head = [("content-type", "application/json"), ("content-length", str(len(body)))]
                answer = h11.Response(status_code=400, headers=[*head, ("connection", "close")])
                for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event))
            self.transport.close()

        def _look(self) -> None:
            """Close the connection where, since the last look, there was part of a head and nothing more."""
            if self.transport.is_closing():
                return
            idle = self.cycle is None or self.cycle.response_complete
            if idle and self.cycle is self._seen and self.timeout_keep_alive_task is None:
                self.transport.close()
                return
            self._seen = self.cycle
            asyncio.get_running_loop().call_later(seconds, self._look)

    return Timed


async def _full(_scope: Any, _receive: Any, send: Any) -> None:
    """The application of a connection too many."""
    body = _error("too many connections")
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    head += [(b"retry-after", b"1"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _error(words: str) -> bytes:
    return json.dumps({"error": words}).encode()
