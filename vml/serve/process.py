"""One server process: it listens, says where, answers, and ends when it is told to, with nothing lost.

The end (SIGTERM, Ctrl-C): nothing new is accepted and the server is not ready any more; requests that go on may end;
workers end their jobs or hand them back; what waits to be recorded is recorded.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vml.serve.limits import timed

if TYPE_CHECKING:
    from fastapi import FastAPI

    from vml.serve.settings import Settings

MAX_HEAD_BYTES = 1 << 16
IDLE_S = 30
BACKLOG = 1024


class _Listener(uvicorn.Server):
    """uvicorn's server, with signals that end it without killing the process."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None], stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._told, self._stop = started, stop
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._told()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the server; a second SIGINT does not wait for anybody."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sign: signal.signal(sign, self.handle_exit) for sign in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for sign, handler in before.items():
                signal.signal(sign, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: the address cannot be taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # Connections inherit it. asyncio sets it only where a socket names its protocol, which this one does not; without
    # it an answer's body waits for the acknowledgement of its head, 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def url_of(settings: Settings, listening: socket.socket) -> str:
    """Where clients find it."""
    scheme = "https" if settings.access.certificate is not None else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{listening.getsockname()[1]}"


async def serve(app: FastAPI, settings: Settings, listening: socket.socket, started: Callable[[], None]) -> None:
    """Serve until told to end.

    Args:
        app: of these settings.
        settings: how.
        listening: the socket.
        started: called when requests are taken.

    Raises:
        ValueError, VmlError, OSError: it cannot start.
    """
    limits, access = settings.limits, settings.access
    extra: dict[str, Any] = {}
    if access.certificate is not None:
        extra = {"ssl_certfile": str(access.certificate), "ssl_keyfile": str(access.private_key)}
        if access.client_ca is not None:
            extra |= {"ssl_ca_certs": str(access.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    app.state.demands_certificates = access.client_ca is not None
    async with app.router.lifespan_context(app):
        config = uvicorn.Config(
            app,
            lifespan="off",
            http=timed(H11Protocol, limits.body_s, limits.connections),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=4 * limits.connections,  # tasks; connections never come to that
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=max(1, round(limits.grace_s)),
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            **extra,
        )
        app.state.listener = _Listener(config, started, app.state.server.stop)
        await app.state.listener.serve([listening])
