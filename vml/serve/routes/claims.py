"""Claims that were answered, and their proofs."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field
from starlette.responses import JSONResponse

from vml.claim import parse_bytes32
from vml.serve.auth import AUDIT, INFER, READ
from vml.serve.engine import read_outputs
from vml.serve.limits import Rejected, read_body
from vml.serve.records import ClaimRecord, NewJob
from vml.serve.routes import shapes
from vml.serve.routes.inference import provider
from vml.serve.sampling import DEFAULT_PRIORITY, Prove
from vml.serve.server import principal_of, server_of, show_job

router = APIRouter(prefix="/v1")
MAX_ASK_BYTES = 4096
PROOF_TYPE = "application/json"
TEXT = "^[^\\x00]+$"
"""Something that a database can look for: PostgreSQL knows no text with a zero in it."""


class Page(shapes.Strict):
    """Which claims are listed."""

    limit: int = Field(default=50, ge=1, le=500)
    before: int | None = Field(default=None, ge=0, le=(1 << 62), description="Only those with a lower log index.")
    model: str | None = Field(default=None, pattern=shapes.HEX32)
    name: str | None = Field(default=None, pattern=TEXT, max_length=255)


class Which(shapes.Strict):
    """Whose proof."""

    backend: str | None = Field(default=None, pattern=TEXT, max_length=64)


def read_digest(text: str) -> bytes:
    """The 32 bytes of a path.

    Raises:
        Rejected: 422.
    """
    try:
        return parse_bytes32(text)
    except ValueError as error:
        raise Rejected(422, f"digest: {error}") from None


@router.get("/models", response_model=shapes.Models, responses=shapes.refusals())
async def models(request: Request) -> Response:
    """The models that are served, and what may be asked for."""
    principal_of(request, READ)
    server = server_of(request)
    proving = server.settings.proving

    def tensor(served: Any, spec: Any) -> dict[str, Any]:
        return {"name": spec.name, "datatype": served.datatypes[spec.name], "shape": list(spec.shape)}

    listed = [
        {
            "name": served.name,
            "model": served.version,
            "semantics": served.semantics,
            "backend": served.backend,
            "ready": served.ready,
            "run_seconds": served.run_s,
            "inputs": [tensor(served, spec) for spec in served.inputs],
            "outputs": [tensor(served, spec) for spec in served.outputs],
        }
        for served in server.models.values()
    ]
    return JSONResponse(
        {
            "models": listed,
            "backends": sorted(proving.backends),
            "prove": str(proving.prove),
            "policies": sorted(map(str, proving.policies)),
        }
    )


@router.get("/claims", response_model=shapes.Claims, responses=shapes.refusals())
async def claims(request: Request, page: Annotated[Page, Query()]) -> Response:
    """Claims, the newest first."""
    principal_of(request, AUDIT)
    store = server_of(request).store
    model = None if page.model is None else parse_bytes32(page.model)

    def read() -> tuple[list[ClaimRecord], int]:
        return store.claims(limit=page.limit, before=page.before, model=model, name=page.name), store.count_claims()

    found, total = await asyncio.to_thread(read)
    rows = [{**_row(record), "client": record.client} for record in found]
    following = found[-1].log_index if len(found) == page.limit else None
    return JSONResponse({"claims": rows, "total": total, "next": following})


@router.get("/claims/{digest}", response_model=shapes.ClaimView, responses=shapes.refusals(404))
async def claim(request: Request, digest: str) -> Response:
    """One claim: its fields, the server's receipt, the outputs that were answered, and what is done to prove it."""
    principal_of(request, READ)
    store, wanted = server_of(request).store, read_digest(digest)

    def read() -> dict[str, Any] | None:
        record = store.claim(wanted)
        if record is None:
            return None
        return {
            **_row(record),
            "receipt": json.loads(record.receipt) if record.receipt else None,
            "outputs": read_outputs(record.outputs),
            "jobs": [{**show_job(job), "max_difference": None} for job in store.jobs(limit=50, claim=wanted)],
        }

    found = await asyncio.to_thread(read)
    if found is None:
        raise Rejected(404, "no such claim")
    return JSONResponse(found)


@router.get(
    "/proofs/{digest}",
    responses={
        200: {"description": "The proof file.", "content": {PROOF_TYPE: {"schema": {"type": "object"}}}},
        **shapes.refusals(404),
    },
)
async def proof(request: Request, digest: str, which: Annotated[Which, Query()]) -> Response:
    """A proof file, by the claim that was answered or by the one inside the proof."""
    principal_of(request, READ)
    store = server_of(request).store
    found = await asyncio.to_thread(store.proof, read_digest(digest), which.backend)
    if found is None:
        raise Rejected(404, "no proof of this claim: not asked for, not ready, or failed; its jobs say which")
    name = f"0x{found.claims[0].hex()[:16]}.proof.json"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Vml-Claim": "0x" + found.claims[0].hex()}
    return Response(found.data, media_type=PROOF_TYPE, headers=headers)


async def _asked(request: Request) -> shapes.AskForProof:
    """The body, which may be missing."""
    body = await read_body(request, server_of(request).reading, MAX_ASK_BYTES)
    try:
        return shapes.AskForProof.model_validate_json(body or b"{}", strict=True)
    except ValueError:
        raise Rejected(422, "a JSON object with backend and priority, or nothing, is expected") from None


@router.post(
    "/proofs/{digest}",
    status_code=202,
    response_model=shapes.JobView,
    responses=shapes.refusals(404, 408, 409, 413, 415),
    openapi_extra={
        "requestBody": {
            "required": False,
            "content": {"application/json": {"schema": shapes.AskForProof.model_json_schema()}},
        }
    },
)
async def ask(request: Request, digest: str, asked: Annotated[shapes.AskForProof, Depends(_asked)]) -> Response:
    """Have an answer proved after all, while its input is kept. Asked again, it is the same job."""
    principal = principal_of(request, INFER)
    server, wanted = server_of(request), read_digest(digest)
    proving = server.settings.proving
    if Prove.ON_DEMAND not in proving.policies:
        raise Rejected(403, "this server proves nothing on demand")
    if asked.backend is not None and asked.backend not in proving.backends:
        raise Rejected(422, f"backend is one of {', '.join(sorted(proving.backends))}")
    record = await asyncio.to_thread(server.store.claim, wanted)
    if record is None:
        raise Rejected(404, "no such claim")
    served = server.models.get(record.model_name)
    if served is None or served.model.commitment != record.claim.model:
        raise Rejected(409, "the model of this claim is not served any more")
    priority = DEFAULT_PRIORITY - (asked.priority or DEFAULT_PRIORITY)
    job = NewJob(provider(served, asked.backend), priority, proving.max_attempts, client=principal.name)
    made = await asyncio.to_thread(server.store.ask, wanted, job)
    return JSONResponse(
        {**show_job(made), "max_difference": None}, status_code=202, headers={"Location": f"/v1/jobs/{made.id}"}
    )


def _row(record: ClaimRecord) -> dict[str, Any]:
    return {
        "digest": "0x" + record.digest.hex(),
        "claim": record.claim.to_json(),
        "model_name": record.model_name,
        "semantics": record.semantics,
        "created_at": record.created_at,
        "log_index": record.log_index,
    }
