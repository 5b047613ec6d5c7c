"""The clients over real sockets, against servers that send too much, too slowly, or elsewhere."""

from __future__ import annotations

import asyncio
import gzip
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from vml.client import AsyncClient, Client
from vml.errors import ServerError

INPUT = {"x": np.zeros((1, 4), dtype=np.float32)}
MODEL = "0x" + "01" * 32


@contextmanager
def answering(write: Callable[[Any, threading.Event], None]) -> Iterator[str]:
    """A server that reads a request's head and then does what it is told."""
    ended = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            try:
                write(self.wfile, ended)
            except OSError:
                return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            ended.set()
            server.shutdown()
            thread.join(30)


def ask(url: str, how: str, timeout_s: float = 30.0) -> Any:
    """Ask by either client."""
    if how == "blocking":
        with Client(url, model=MODEL, name="tiny", timeout_s=timeout_s) as client:
            return client.ask(INPUT)

    async def run() -> Any:
        async with AsyncClient(url, model=MODEL, name="tiny", timeout_s=timeout_s) as client:
            return await client.ask(INPUT)

    return asyncio.run(run())


both = pytest.mark.parametrize("how", ["blocking", "awaiting"])


@both
def test_a_compressed_answer_is_refused_before_it_is_opened(how: str) -> None:
    """A thousand bytes on the wire would be a gigabyte."""
    bomb = gzip.compress(gzip.compress(bytes(1 << 22)))

    def write(out: Any, ended: threading.Event) -> None:
        out.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\n")
        out.write(b"Content-Length: %d\r\n\r\n" % len(bomb) + bomb)

    with answering(write) as url, pytest.raises(ServerError, match="compressed"):
        ask(url, how)


@both
def test_an_answer_that_drips_ends_with_the_call(how: str) -> None:
    def write(out: Any, ended: threading.Event) -> None:
        out.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not ended.wait(0.05):
            out.write(b"x")
            out.flush()

    with answering(write) as url, pytest.raises(ServerError, match="no verified answer within 1 s"):
        ask(url, how, timeout_s=1.0)


@both
def test_an_answer_without_an_end_is_cut(how: str) -> None:
    def write(out: Any, ended: threading.Event) -> None:
        out.write(b"HTTP/1.1 404 Not Found\r\n\r\n")
        chunk = bytes(1 << 20)
        while not ended.is_set():
            out.write(chunk)

    with answering(write) as url, pytest.raises(ServerError, match="larger than"):
        ask(url, how, timeout_s=60.0)


@both
def test_a_redirect_is_not_followed(how: str) -> None:
    """It would carry the API key to whoever is named."""

    def write(out: Any, ended: threading.Event) -> None:
        out.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")

    with answering(write) as url, pytest.raises(ServerError, match="307"):
        ask(url, how)


@both
def test_nobody_there(how: str) -> None:
    with pytest.raises(ServerError, match="does not answer"):
        ask("http://127.0.0.1:9", how)


@pytest.mark.parametrize("url", ["ftp://here", "here:8000", "http://", "http://here/?x=1", "http://here/#x"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="no server's address"):
        Client(url, model=MODEL, name="tiny")


def test_a_commitment_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name="):
        Client("http://127.0.0.1:9", model=MODEL)
