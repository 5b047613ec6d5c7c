"""Verifying a proof that somebody hands in: the same steps as `vml verify`, and the verdict in plain words."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from starlette.responses import JSONResponse

from vml import api
from vml.api.verdicts import accepted, explained, refused
from vml.backends import backend_of_scheme, get_backend
from vml.backends.types import Environment
from vml.claim import ZERO_CONTEXT, parse_bytes32
from vml.errors import VerificationError
from vml.policy import Policy
from vml.proof import MAX_BYTES, Proof
from vml.serve.auth import READ
from vml.serve.engine import Served
from vml.serve.limits import Rejected, read_body
from vml.serve.routes import shapes
from vml.serve.server import Server, principal_of, server_of

router = APIRouter(prefix="/v1")
AT_ONCE = 2
"""Verifying takes a core and memory."""

TIME_LIMIT_S = 60.0


class Expected(shapes.Strict):
    """What the proof must be about."""

    model: str = Field(min_length=1, max_length=255, description="A served model's name, or an identity, 0x….")
    context: str | None = Field(default=None, pattern="^0x[0-9a-fA-F]{64}$")
    key: str | None = Field(default=None, pattern="^0x[0-9a-fA-F]{64}$", description="Digest of the verifying key.")
    allow_unsafe_setup: bool = False
    allow_simulated: bool = False


@router.post(
    "/verify",
    response_model=shapes.Verdict,
    responses=shapes.refusals(404, 408, 413, 415),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def verify(request: Request, expected: Annotated[Expected, Query()]) -> Response:
    """Verify a proof file. Nothing of it is kept. A verdict is this server's word: verify yourself what matters."""
    principal_of(request, READ)
    server = server_of(request)
    body = await read_body(request, server.reading, MAX_BYTES)
    with server.checking.one():
        verdict = await asyncio.to_thread(_verdict, server, body, expected)
    server.metrics.verified.labels("verified" if verdict["verified"] else "refused").inc()
    return JSONResponse(verdict)


def _verdict(server: Server, body: bytes, expected: Expected) -> dict[str, Any]:
    """The verdict as JSON.

    Raises:
        Rejected: 404 for an unknown name, 422 where what is expected says too little for this proof.
    """
    held, identities = _model(server, expected.model)
    context = ZERO_CONTEXT if expected.context is None else parse_bytes32(expected.context)
    policy = Policy.default().relaxed(
        allow_unsafe_setup=expected.allow_unsafe_setup, allow_simulated=expected.allow_simulated
    )
    try:
        proof = Proof.from_bytes(body)
        key = None if expected.key is None else frozenset({parse_bytes32(expected.key)})
        if identities is None:
            assert held is not None
            identities = api.accepted_models(held.model, proof)
        if held is not None:
            key = api.accepted_keys(held.model, proof, key=key, policy=policy)
        able = get_backend(backend_of_scheme(proof.scheme)).capabilities()
        model = held.model if held is not None and able.recomputes else None
        environment = Environment(now=int(time.time()), model=model, time_limit_s=TIME_LIMIT_S)
        verdict = api.verify(proof, model=identities, context=context, policy=policy, key=key, environment=environment)
    except VerificationError as error:
        shown = refused({"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code})
        return {**shown, "explanation": [f"Not verified: {error}"]}
    except ValueError as error:
        raise Rejected(422, str(error)) from None
    return {**accepted(verdict), "error": None, "explanation": explained(verdict)}


def _model(server: Server, text: str) -> tuple[Served | None, frozenset[bytes] | None]:
    """A served model by its name; or an identity, with the served model whose it is."""
    if text in server.models:
        return server.models[text], None
    if text[:2] not in ("0x", "0X"):
        raise Rejected(404, "no such model; GET /v1/models lists them, or give an identity, 0x and 64 digits")
    try:
        identity = parse_bytes32(text)
    except ValueError as error:
        raise Rejected(422, f"model: {error}") from None
    for served in server.models.values():
        folder = served.model.folder
        if identity == served.model.commitment or (folder and identity in api.recorded_identities(folder)):
            return served, frozenset({identity})
    return None, frozenset({identity})
