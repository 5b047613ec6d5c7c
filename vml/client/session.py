"""What both clients share: options, the request as httpx takes it, the limits of an answer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vml.claim import parse_bytes32
from vml.client.exchange import Reply, Request
from vml.client.flow import Trust
from vml.errors import BackendUnavailable, ServerError

if TYPE_CHECKING:
    from types import ModuleType

    from vml.api.models import ModelLike
    from vml.backends.types import Environment
    from vml.policy import Policy

API_KEY = "VML_API_KEY"
"""Environment variable with the API key, where none is given."""


@dataclass(frozen=True)
class Session:
    """One server, one model, and what is accepted of it.

    Args:
        url: of the server; with a path where it is mounted in another.
        name: of the model there.
        trust: what is accepted.
        headers: of every request.
        timeout_s: for a whole call, proving included.
    """

    url: str
    name: str
    trust: Trust
    headers: dict[str, str]
    timeout_s: float


def open_session(
    url: str,
    model: ModelLike | bytes,
    name: str | None,
    key: Any,
    policy: Policy | None,
    environment: Environment | None,
    server_key: str | bytes | None,
    api_key: str | None,
    timeout_s: float,
) -> Session:
    """Check a client's options; see `Client`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no server's address: http://host:port, or https://host:port/path")
    if name is None:
        if not isinstance(model, str | os.PathLike) or (isinstance(model, str) and model.startswith("0x")):
            raise ValueError("give the model's name on the server: name=…")
        name = PurePath(model).name.removesuffix(".vml").removesuffix(".onnx")
    if api_key is None:
        api_key = os.environ.get(API_KEY)
    # Nothing compressed: a small answer could become any number of bytes before anybody counts them.
    headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {api_key}"} if api_key else {})}
    if isinstance(server_key, str):
        server_key = parse_bytes32(server_key)
    trust = Trust(model, key, policy, environment, server_key=server_key)
    return Session(url.rstrip("/"), name, trust, headers, timeout_s)


def httpx() -> ModuleType:
    """The HTTP library.

    Raises:
        BackendUnavailable: the extra ``client`` is not installed.
    """
    try:
        import httpx
    except ImportError:
        raise BackendUnavailable("asking a server needs httpx: pip install 'vml[client]'") from None
    return httpx


class Body:
    """The bytes of an answer as they come, up to a limit.

    Raises:
        ServerError: they are compressed, which nobody asked for.
    """

    def __init__(self, request: Request, headers: Any) -> None:
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise ServerError("the server's answer is compressed, which was not asked for")
        self._parts: list[bytes] = []
        self._left = request.limit
        self._limit = request.limit

    def add(self, part: bytes) -> None:
        """Raises ServerError beyond the limit."""
        self._left -= len(part)
        if self._left < 0:
            raise ServerError(f"the server's answer is larger than {self._limit} bytes")
        self._parts.append(part)

    def reply(self, status: int, headers: Any) -> Reply:
        """The whole answer."""
        return Reply(status, {name.lower(): value for name, value in headers.items()}, b"".join(self._parts))


def unanswered(session: Session, error: Exception) -> ServerError:
    """The error of a server that does not answer."""
    return ServerError(f"{session.url} does not answer: {type(error).__name__} {error}".rstrip())


def too_late(session: Session) -> ServerError:
    """The error of a call that took too long."""
    return ServerError(f"{session.url}: no verified answer within {session.timeout_s:g} s; raise timeout_s")
