"""Jobs: how far they are, live, and cancelling them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from starlette.responses import JSONResponse, StreamingResponse

from vml.backends import get_backend
from vml.serve.auth import AUDIT, INFER, OPERATE, READ
from vml.serve.differences import max_difference
from vml.serve.limits import Rejected
from vml.serve.records import Job, State
from vml.serve.routes import shapes
from vml.serve.server import Server, principal_of, server_of, show_job
from vml.serve.streams import events

router = APIRouter(prefix="/v1")
EVENTS = "text/event-stream"


class Page(shapes.Strict):
    """Which jobs are listed."""

    limit: int = Field(default=50, ge=1, le=500)
    state: State | None = None
    claim: str | None = Field(default=None, pattern=shapes.HEX32)


@router.get("/jobs", response_model=shapes.Jobs, responses=shapes.refusals())
async def jobs(request: Request, page: Annotated[Page, Query()]) -> Response:
    """Jobs, the newest first, and how many are in each state."""
    principal_of(request, AUDIT)
    store = server_of(request).store
    claim = None if page.claim is None else bytes.fromhex(page.claim[2:])

    def read() -> dict[str, Any]:
        found = store.jobs(limit=page.limit, state=page.state, claim=claim)
        counts = {str(state): count for state, count in store.count_jobs().items()}
        return {"jobs": [{**show_job(job), "max_difference": None} for job in found], "counts": counts}

    return JSONResponse(await asyncio.to_thread(read))


@router.get("/jobs/{id}", response_model=shapes.JobView, responses=shapes.refusals(404))
async def job(request: Request, id: str) -> Response:
    """One job; with a proof that has arithmetic of its own, how far its outputs are from the answered ones."""
    principal_of(request, READ)
    server = server_of(request)
    found = await asyncio.to_thread(_job, server, id)
    difference = await asyncio.to_thread(_difference, server, found)
    return JSONResponse({**show_job(found), "max_difference": difference})


@router.delete("/jobs/{id}", response_model=shapes.JobView, responses=shapes.refusals(404))
async def cancel(request: Request, id: str) -> Response:
    """Cancel a job: at once where nobody works on it, else its worker is asked to stop."""
    principal = principal_of(request, INFER)
    server = server_of(request)
    found = await asyncio.to_thread(_job, server, id)
    if OPERATE not in principal.roles and found.client != principal.name:
        raise Rejected(403, f"a job that others asked for: this takes the role {OPERATE!r}")
    cancelled = await asyncio.to_thread(server.store.cancel, id)
    return JSONResponse({**show_job(cancelled or found), "max_difference": None})


@router.get(
    "/jobs/{id}/events",
    responses={
        200: {
            "description": 'Server-sent events: "progress" with the job, at last "end" with the job.',
            "content": {EVENTS: {}},
        },
        **shapes.refusals(404),
    },
)
async def job_events(request: Request, id: str) -> Response:
    """A job as it goes on."""
    principal_of(request, READ)
    server = server_of(request)
    found = await asyncio.to_thread(_job, server, id)

    def show(state: Job) -> dict[str, Any]:
        return {**show_job(state), "max_difference": None}

    return StreamingResponse(events(server.watch, found, show), media_type=EVENTS)


def _job(server: Server, id: str) -> Job:
    found = server.store.job(id) if len(id) == 32 and id.isascii() and id.isalnum() else None
    if found is None:
        raise Rejected(404, "no such job")
    return found


def _difference(server: Server, job: Job) -> float | None:
    """Of the job's proof, where there is one."""
    if job.state is not State.PROVED:
        return None
    if get_backend(job.backend).capabilities().exact:
        return 0.0
    record, proof = server.store.claim(job.claim), server.store.proof(job.claim, job.backend)
    return None if record is None or proof is None else max_difference(record, proof)
