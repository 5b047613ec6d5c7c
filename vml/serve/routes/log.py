"""The transparency log: its key, signed checkpoints, proofs of inclusion and of consistency, entries."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import JSONResponse, PlainTextResponse

from vml.errors import LogRejected
from vml.serve import log
from vml.serve.auth import AUDIT, READ
from vml.serve.limits import Rejected
from vml.serve.routes import shapes
from vml.serve.routes.claims import read_digest
from vml.serve.server import principal_of, server_of

T = TypeVar("T")
router = APIRouter(prefix="/v1/log")
MAX_INDEX = 1 << 62
TEXT = "text/plain; charset=utf-8"


class LogKey(shapes.Strict):
    """Whose log it is: the key that auditors pin, as C2SP's signed notes write it."""

    origin: str
    key: str


class Inclusion(shapes.Strict):
    """An entry and the proof that it stands under a checkpoint."""

    index: int
    size: int
    entry: str = Field(description="Canonical JSON, base64: the leaf is the hash of exactly these bytes.")
    hashes: list[str]
    checkpoint: str | None = Field(description="The signed note; null where a size was asked for.")


class Consistency(shapes.Strict):
    """The proof that one size of the log is the beginning of another."""

    first: int
    second: int
    hashes: list[str]


class Entries(shapes.Strict):
    """Entries in order, base64, from `start` on."""

    start: int
    entries: list[str]


class Asked(shapes.Strict):
    """Digests of the claims that were asked under one context, the oldest first; `next` is the `start` of the rest."""

    context: str
    claims: list[str]
    next: int | None


class From(shapes.Strict):
    """From which entry on."""

    start: int = Field(default=0, ge=0, le=MAX_INDEX)


class Under(shapes.Strict):
    """Under which size; none takes the newest checkpoint."""

    size: int | None = Field(default=None, ge=1, le=MAX_INDEX)


class Between(shapes.Strict):
    """Two sizes."""

    first: int = Field(ge=0, le=MAX_INDEX)
    second: int = Field(ge=0, le=MAX_INDEX)


class Range(shapes.Strict):
    """Which entries."""

    start: int = Field(default=0, ge=0, le=MAX_INDEX)
    limit: int = Field(default=100, ge=1, le=1000)


@router.get("/key", response_model=LogKey, responses=shapes.refusals())
async def key(request: Request) -> Response:
    """The key that signs checkpoints. Pin what you learned elsewhere, not what a server says now."""
    principal_of(request, READ)
    found = server_of(request).checkpoints.key
    return JSONResponse({"origin": found.name, "key": str(found)})


@router.get("/checkpoint", responses={200: {"content": {TEXT: {"schema": {"type": "string"}}}}, **shapes.refusals(409)})
async def checkpoint(request: Request) -> Response:
    """The log's size and root, signed (C2SP tlog-checkpoint); at most a second behind."""
    principal_of(request, READ)
    note, _ = await _latest(request)
    return PlainTextResponse(note)


@router.get("/inclusion/{digest}", response_model=Inclusion, responses=shapes.refusals(404, 409))
async def inclusion(request: Request, digest: str, under: Annotated[Under, Query()]) -> Response:
    """Where a claim stands in the log, and the proof of it."""
    principal_of(request, READ)
    claim = read_digest(digest)
    index = await _read(request, lambda c: log.index_of(c, claim))
    if index is None:
        raise Rejected(404, "the log has no entry of this claim")
    note, size = (None, under.size) if under.size else await _latest(request, index + 1)
    if index >= size:
        raise Rejected(422, f"size: the entry stands at {index}, beyond it")
    entry, hashes = await _read(request, lambda c: (log.entries(c, index, 1)[0], log.inclusion(c, index, size)))
    found = {"index": index, "size": size, "entry": _text(entry), "hashes": _hexes(hashes)}
    return JSONResponse({**found, "checkpoint": None if note is None else note.decode()})


@router.get("/consistency", response_model=Consistency, responses=shapes.refusals(404))
async def consistency(request: Request, between: Annotated[Between, Query()]) -> Response:
    """The proof that the log only grew from one size to another."""
    principal_of(request, READ)
    if between.first > between.second:
        raise Rejected(422, "first: larger than second")
    hashes = await _read(request, lambda c: log.consistency(c, between.first, between.second))
    return JSONResponse({"first": between.first, "second": between.second, "hashes": _hexes(hashes)})


@router.get("/entries", response_model=Entries, responses=shapes.refusals())
async def entries(request: Request, which: Annotated[Range, Query()]) -> Response:
    """The entries themselves, for whoever keeps a copy of the log."""
    principal_of(request, AUDIT)
    found = await _read(request, lambda c: log.entries(c, which.start, which.limit))
    return JSONResponse({"start": which.start, "entries": [_text(entry) for entry in found]})


@router.get("/contexts/{context}", response_model=Asked, responses=shapes.refusals())
async def asked(request: Request, context: str, which: Annotated[From, Query()]) -> Response:
    """The claims that were asked under a context, 100 at a time, the oldest first.

    A case's context is keccak256("vml/serve-nonce/v1" || UTF-8 of its text).
    Unlike digests, cases can be guessed: this is for who may list claims.
    """
    principal_of(request, AUDIT)
    wanted = read_digest(context)
    found, following = await _read(request, lambda c: log.asked_under(c, wanted, which.start))
    return JSONResponse({"context": "0x" + wanted.hex(), "claims": _hexes(found), "next": following})


async def _latest(request: Request, size: int = 0) -> tuple[bytes, int]:
    try:
        return await server_of(request).checkpoints.latest(size)
    except LogRejected:
        raise Rejected(409, "the database no longer fits the last checkpoint: nothing is signed any more") from None


async def _read(request: Request, work: Callable[[Connection], T]) -> T:
    store = server_of(request).store

    def read() -> T:
        with store.reading() as connection:
            return work(connection)

    try:
        return await asyncio.to_thread(read)
    except LookupError:
        raise Rejected(404, "the log is smaller") from None


def _hexes(items: list[bytes]) -> list[str]:
    return ["0x" + item.hex() for item in items]


def _text(data: bytes) -> Any:
    return base64.b64encode(data).decode()
