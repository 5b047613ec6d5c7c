"""The Open Inference Protocol v2: who is there, and inference with a claim."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse
from starlette.routing import Match, Route
from starlette.types import Scope

from vml.keccak import keccak256
from vml.serve import wire
from vml.serve.auth import INFER, READ
from vml.serve.engine import Answered, Served
from vml.serve.limits import Rejected, read_body
from vml.serve.records import Job, NewAnswer, NewJob, Recorded
from vml.serve.routes import shapes
from vml.serve.routes.documents import INFER_DOCUMENT
from vml.serve.sampling import Asked, Prove, Sampling, chosen
from vml.serve.server import Server, principal_of, server_of

router = APIRouter()
IDEMPOTENCY, HEADER_LENGTH = "idempotency-key", "inference-header-content-length"
MAX_KEY = 255
QUICK_BYTES = 1 << 18
"""Larger bodies are read in a thread: meanwhile others are answered."""

INFER_REFUSALS = shapes.refusals(404, 408, 409, 413, 415)


@router.get("/v2", response_model=shapes.ServerMetadata, responses=shapes.refusals())
async def server_metadata(request: Request) -> Response:
    """Who this is: the server's version, what it understands, and the keys of its receipts and of its log."""
    principal_of(request, READ)
    server = server_of(request)
    signer = server.signer
    said = {
        "vml_key": "0x" + signer.public_key.hex(),
        "vml_key_id": "0x" + signer.key_id.hex(),
        "vml_epoch": signer.epoch,
        "vml_log_key": str(server.checkpoints.key),
        "vml_prove": str(server.settings.proving.prove),
    }
    return JSONResponse(wire.server_metadata(request.app.version, said))


@router.get("/v2/health/live", response_model=shapes.Live, responses=shapes.public_refusals())
async def live() -> Response:
    """Whether the server runs."""
    return JSONResponse({"live": True})


@router.get("/v2/health/ready", response_model=shapes.Live, responses=shapes.public_refusals())
async def ready(request: Request) -> Response:
    """Whether every model is loaded and warm."""
    if not server_of(request).ready:
        raise Rejected(503, "models are being made ready", retry_after_s=1)
    return JSONResponse({"live": True})


@router.get("/v2/models/{name}/ready", response_model=shapes.ModelReady, responses=shapes.refusals(404))
async def model_ready(request: Request, name: str) -> Response:
    """Whether a model is loaded and warm."""
    return _ready(request, name, None)


@router.get(
    "/v2/models/{name}/versions/{version}/ready", response_model=shapes.ModelReady, responses=shapes.refusals(404)
)
async def version_ready(request: Request, name: str, version: str) -> Response:
    """Whether a model is loaded and warm, and this one."""
    return _ready(request, name, version)


@router.get("/v2/models/{name}", response_model=shapes.ModelMetadata, responses=shapes.refusals(404))
async def model_metadata(request: Request, name: str) -> Response:
    """What a model takes and gives."""
    principal_of(request, READ)
    return JSONResponse(wire.model_metadata(server_of(request).model(name)))


@router.get("/v2/models/{name}/versions/{version}", response_model=shapes.ModelMetadata, responses=shapes.refusals(404))
async def version_metadata(request: Request, name: str, version: str) -> Response:
    """What a model takes and gives. The one version there is is its commitment."""
    principal_of(request, READ)
    return JSONResponse(wire.model_metadata(server_of(request).model(name, version)))


@router.post("/v2/models/{name}/infer", responses=INFER_REFUSALS, openapi_extra=INFER_DOCUMENT)
async def infer(request: Request, name: str) -> Response:
    """Run a model. The answer carries its claim and the server's receipt; a proof follows where one was asked for."""
    return await _infer(request, name, None)


@router.post("/v2/models/{name}/versions/{version}/infer", responses=INFER_REFUSALS, openapi_extra=INFER_DOCUMENT)
async def infer_version(request: Request, name: str, version: str) -> Response:
    """As without a version; refused where the model is another than this commitment."""
    return await _infer(request, name, version)


class Quick(Route):
    """The same inference without what FastAPI does for a request besides; that is as much work as a small model."""

    def __init__(self) -> None:
        super().__init__("/v2/models/{name}/infer", self._answer, methods=["POST"], include_in_schema=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As any route; and it says its name for figures. What it does not take in full is left to the others."""
        match, found = super().matches(scope)
        return (match, {**found, "route": self}) if match is Match.FULL else (Match.NONE, {})

    @staticmethod
    async def _answer(request: Request) -> Response:
        return await _infer(request, request.path_params["name"], None)


async def _infer(request: Request, name: str, version: str | None) -> Response:
    principal = principal_of(request, INFER)
    server = server_of(request)
    settings, headers = server.settings, request.headers
    served = server.model(name, version)
    body = await read_body(request, server.reading, served.body_bytes)
    with server.slots.one():
        if not served.ready:
            raise Rejected(503, f"{served.name!r} is being made ready", retry_after_s=1)
        key, request_hash = _idempotency(headers, served, body)
        work = partial(_run, server, served, body, headers.get(HEADER_LENGTH))
        if served.quick and len(body) <= QUICK_BYTES:
            run = work()
        else:
            run = await asyncio.get_running_loop().run_in_executor(server.threads, work)
        asked, answered = run.request.asked, run.answered
        began = time.perf_counter()
        digest = answered.claim.digest()
        receipt = server.signer.sign(digest).encode()
        signed = time.perf_counter()
        job = new_job(server, asked, run.backend, digest, principal.name)
        recorded = await server.writer.record(
            NewAnswer(
                claim=answered.claim,
                semantics=served.semantics,
                model_name=served.name,
                inputs={} if asked.prove is Prove.NEVER else answered.inputs,
                outputs=answered.codes if settings.keep_outputs else b"",
                receipt=receipt,
                job=job,
                client=principal.name,
                idempotency_key=key,
                request_hash=request_hash,
            )
        )
        server.metrics.answered(served.name, run.seconds, signed - began, time.perf_counter() - signed)
    said = _claim_said(answered, recorded, receipt, asked, run.backend, job)
    if asked.prove is Prove.SYNC and recorded.job is not None:
        said |= _job_said(await _proved(request, server, recorded.job, asked.timeout_s))
    content, length = wire.write_answer(served, run.request.id, said, run.items, run.data)
    answer = Response(content, media_type="application/json" if length is None else "application/octet-stream")
    answer.headers["Vml-Claim"] = said["vml_claim"]
    if length is not None:
        answer.headers["Inference-Header-Content-Length"] = str(length)
    return answer


@dataclass(frozen=True)
class _Run:
    """A request that was read, run and written, before anything is remembered of it."""

    request: wire.InferenceRequest
    backend: str | None
    answered: Answered
    items: list[dict[str, Any]]
    data: bytes
    seconds: float


def _run(server: Server, served: Served, body: bytes, header_length: str | None) -> _Run:
    """Everything that can be refused for what is in the body, so that a refused request leaves no trace."""
    asked = wire.read_request(body, header_length, served, server.settings.proving.default)
    backend = allowed(server, served, asked.asked)
    started = time.perf_counter()
    answered = served.answer(asked.inputs, asked.asked.context)
    seconds = time.perf_counter() - started
    return _Run(asked, backend, answered, *wire.write_outputs(asked, answered.outputs), seconds)


def _idempotency(headers: Mapping[str, str], served: Served, body: bytes) -> tuple[str | None, bytes]:
    """A request's key, and the hash that tells it from others under the same key."""
    key = headers.get(IDEMPOTENCY)
    if key is None:
        return None, b""
    if not 0 < len(key) <= MAX_KEY:
        raise Rejected(400, f"Idempotency-Key has 1 to {MAX_KEY} characters")
    read_as = headers.get(HEADER_LENGTH, "").encode("latin-1", "replace")
    return key, keccak256(b"\0".join((served.version.encode(), served.name.encode(), read_as, body)))


def allowed(server: Server, served: Served, asked: Asked) -> str | None:
    """The backend that proves an answer; None where nothing is to be proved.

    Raises:
        Rejected: 400 for an unknown backend, 403 for what this server does not do, 503 where nobody can prove.
    """
    proving = server.settings.proving
    if asked.prove not in proving.policies:
        names = ", ".join(sorted(proving.policies))
        raise Rejected(403, f"this server does not prove {str(asked.prove)!r}; it does: {names}")
    if asked.backend is not None and asked.backend not in proving.backends:
        raise Rejected(400, f"backend is one of {', '.join(sorted(proving.backends))}")
    if asked.prove in (Prove.NEVER, Prove.ON_DEMAND):
        return None
    if asked.prove is Prove.SAMPLE and asked.sampling is Sampling.BEACON and server.beacon is None:
        raise Rejected(403, "this server has no beacon: sample by hash, or ask for every proof")
    return provider(served, asked.backend)


def provider(served: Served, backend: str | None) -> str:
    """Who proves: the one asked for, or the model's own.

    Raises:
        Rejected: 503, nobody can.
    """
    chosen_one = backend or served.backend
    if chosen_one is None:
        raise Rejected(503, f"no backend can prove {served.name!r} here", retry_after_s=3600)
    return chosen_one


def new_job(server: Server, asked: Asked, backend: str | None, digest: bytes, client: str) -> NewJob | None:
    """The proof that follows from a request, if one does."""
    if backend is None:
        return None
    attempts, beacon = server.settings.proving.max_attempts, server.beacon
    if asked.prove is not Prove.SAMPLE:
        return NewJob(backend, asked.priority, attempts, client=client)
    if asked.sampling is Sampling.HASH or beacon is None:
        return NewJob(backend, asked.priority, attempts, client=client) if chosen(digest, asked.sample) else None
    return NewJob(backend, asked.priority, attempts, asked.sample, beacon.coming(), client)


async def _proved(request: Request, server: Server, job: str, timeout_s: float | None) -> Job | None:
    """A job when it has ended, after as long as an answer may wait, or when nobody waits any more."""
    found = await asyncio.to_thread(server.store.job, job)
    if found is None or found.state.ended:
        return found
    bound = server.settings.proving.sync_s
    gone = asyncio.create_task(_gone(request))
    ended = asyncio.create_task(server.watch.ended(found, bound if timeout_s is None else min(bound, timeout_s)))
    try:
        await asyncio.wait((gone, ended), return_when=asyncio.FIRST_COMPLETED)
        return ended.result() if ended.done() else found
    finally:
        gone.cancel()
        ended.cancel()


async def _gone(request: Request) -> None:
    """Wait until the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _claim_said(
    answered: Answered, recorded: Recorded, receipt: bytes, asked: Asked, backend: str | None, job: NewJob | None
) -> dict[str, Any]:
    """What an answer says of its claim."""
    claim, digest = answered.claim, "0x" + recorded.digest.hex()
    said: dict[str, Any] = {
        "vml_claim": digest,
        "vml_model": "0x" + claim.model.hex(),
        "vml_input": "0x" + claim.input.hex(),
        "vml_output": "0x" + claim.output.hex(),
        "vml_context": "0x" + claim.context.hex(),
        "vml_semantics": Served.semantics,
        "vml_receipt": receipt.decode(),
        "vml_log_index": recorded.log_index,
        "vml_prove": str(asked.prove),
    }
    if asked.prove is not Prove.NEVER:
        said["vml_proof"] = f"/v1/proofs/{digest}"
    if backend is not None:
        said["vml_backend"] = backend
    if asked.prove is Prove.SAMPLE:
        said["vml_sample"], said["vml_sampling"] = asked.sample, str(asked.sampling)
        if job is not None and job.beacon_round is not None:
            said["vml_beacon_round"] = job.beacon_round
        else:
            said["vml_sampled"] = job is not None
    if recorded.job is not None:
        said["vml_job"] = recorded.job
    return said


def _job_said(job: Job | None) -> dict[str, Any]:
    """What an answer that waited says of its proof."""
    if job is None:
        return {}
    said: dict[str, Any] = {"vml_state": str(job.state)}
    if job.error:
        said |= {"vml_error": job.error, "vml_error_code": job.error_code}
    return said


def _ready(request: Request, name: str, version: str | None) -> Response:
    principal_of(request, READ)
    server = server_of(request)
    served = server.model(name, version)
    if not served.ready or not server.ready:
        raise Rejected(503, f"{served.name!r} is being made ready", retry_after_s=1)
    return JSONResponse({"name": served.name, "ready": True})
