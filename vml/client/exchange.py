"""One exchange after another with a server, without a socket: what is asked, what came, and the limits of both."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from vml.client import tensors
from vml.errors import ServerError

T = TypeVar("T")

MAX_JSON_BYTES = 1 << 20
FIRST_WAIT_S = 0.05
RETRIED = frozenset({429, 503})
"""Answers that mean: not now."""


@dataclass(frozen=True)
class Request:
    """One HTTP request; its answer of at most `limit` bytes is wanted back."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    limit: int = MAX_JSON_BYTES


@dataclass(frozen=True)
class Wait:
    """Nothing is to happen for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """What a server answered; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Flow: TypeAlias = Generator[Request | Wait, Reply | None, T]


def drive(flow: Flow[T], send: Callable[[Request], Reply], sleep: Callable[[float], None]) -> T:
    """Carry a flow out, blocking."""
    reply: Reply | None = None
    while True:
        try:
            step = flow.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        if isinstance(step, Wait):
            sleep(step.seconds)
            reply = None
        else:
            reply = send(step)


def exchange(request: Request) -> Flow[Reply]:
    """One request until the server takes it; whoever drives the flow bounds the time."""
    while True:
        reply = yield request
        assert reply is not None
        if reply.status in RETRIED and _whole(after := reply.headers.get("retry-after", "")):
            yield Wait(max(FIRST_WAIT_S, float(after[:6])))
            continue
        if reply.status >= 300:
            raise ServerError(f"the server refused ({reply.status}): {_words(reply.body)}", status=reply.status)
        return reply


def read_object(data: bytes) -> dict[str, Any]:
    """The JSON object of an answer. Raises ServerError for anything else."""
    try:
        value, _ = tensors.split_body(data, None)
    except tensors.BadTensor as error:
        raise ServerError(f"the server's answer is not the protocol's: {error}") from None
    return value


def _words(data: bytes) -> str:
    try:
        text = tensors.split_body(data[:MAX_JSON_BYTES], None)[0].get("error")
    except tensors.BadTensor:
        text = None
    return printable(text) if isinstance(text, str) else "without a reason"


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


def printable(text: str) -> str:
    """A server's words, cut, without what a terminal would act on."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:500])
