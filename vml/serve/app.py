"""The application: its parts, its routes, its one way to say no, its beginning and its end (docs/serve.md)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from vml import api
from vml.client.tensors import BadTensor
from vml.errors import BackendUnavailable, OutOfRange, VmlError
from vml.serve.auth import Guard
from vml.serve.beacon import open_beacon
from vml.serve.checkpoints import Checkpoints, load_log_key
from vml.serve.engine import Served
from vml.serve.executor import Executor, Work
from vml.serve.gate import PUBLIC, Gate
from vml.serve.limits import Rates, Reading, Rejected, Slots
from vml.serve.metrics import Metrics
from vml.serve.receipts import Signer, folder_name, load_key
from vml.serve.refusals import IdempotencyConflict, InputsNotKept, Overloaded, StoreUnavailable
from vml.serve.routes import certificates, checking, claims, console, figures, inference, jobs
from vml.serve.routes import log as transparency
from vml.serve.routes.documents import say_who_may
from vml.serve.sampling import Refused
from vml.serve.server import Server
from vml.serve.settings import Proving, Settings
from vml.serve.store import Store
from vml.serve.streams import Watch
from vml.serve.wire import BadRequest
from vml.serve.writer import GroupWriter
from vml.threads import THREADS

ROUTERS: tuple[APIRouter, ...] = (
    inference.router,
    claims.router,
    jobs.router,
    transparency.router,
    certificates.router,
    checking.router,
    figures.router,
    console.router,
)
"""Every group of routes."""

LOCK_FILE = "lock"
COUNT_S, TIDY_S = 2.0, 60.0
READING_BYTES = 256 << 20
"""Of bodies that have not come to their end."""

KEYS_KEPT_S = 86400.0
"""How long an idempotency key is remembered."""

log = logging.getLogger("vml.serve")


def create_app(settings: Settings, *, executor: Executor | None = None) -> FastAPI:
    """The application of one server.

    Args:
        settings: of its owner.
        executor: who proves, instead of the one that the settings name.

    Raises:
        UnsupportedModel, OSError: a model cannot be read.
        ValueError: settings, keys or files that do not fit.
        BackendUnavailable: software is missing.
    """
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    models = {name: Served(name, api.load_model(folder)) for name, folder in settings.models.items()}
    signer = Signer(load_key(settings.data, settings.signing_key), settings.data, epoch=settings.epoch)
    guard = Guard(settings.access)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if settings.access.client_ca is not None and not getattr(app.state, "demands_certificates", False):
            raise ValueError("only `vml serve` asks clients for certificates: another server takes keys or tokens")
        async with AsyncExitStack() as parts:
            app.state.server = await _start(parts, settings, models, signer, guard, executor)
            yield
            app.state.server.stop()

    app = FastAPI(
        title="vml",
        summary="Inference with claims and proofs.",
        version=version("vml"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.router.routes.append(inference.Quick())
    for router in ROUTERS:
        app.include_router(router)
    for kind in (Rejected, HTTPException, RequestValidationError, BadRequest, BadTensor, Refused, VmlError):
        app.add_exception_handler(kind, _answer_error)
    app.add_middleware(Gate)
    with_keys = settings.access.keys_file is not None or settings.access.oidc is not None
    say_who_may(app.openapi(), PUBLIC, with_keys)
    return app


async def _start(
    parts: AsyncExitStack,
    settings: Settings,
    models: Mapping[str, Served],
    signer: Signer,
    guard: Guard,
    executor: Executor | None,
) -> Server:
    """Open and begin everything; `parts` ends it in the opposite order."""
    from filelock import FileLock, Timeout

    lock = FileLock(settings.data / LOCK_FILE, timeout=0)
    try:
        parts.enter_context(lock)
    except Timeout:
        raise ValueError(f"another server works in {settings.data}: give each a --data folder of its own") from None
    limits = settings.limits
    store = await asyncio.to_thread(Store.open, settings.url, max_jobs=limits.jobs, max_each=settings.client_jobs)
    parts.push_async_callback(asyncio.to_thread, store.close)
    await asyncio.to_thread(store.sign_with, signer.key_id, signer.epoch, folder_name(settings.data))
    log_key = load_log_key(settings.data, settings.log_key, settings.log_name)
    writer = GroupWriter(store)
    parts.push_async_callback(asyncio.to_thread, writer.close)
    prover = make_executor(settings) if executor is None else executor
    await asyncio.to_thread(prover.start)
    parts.push_async_callback(asyncio.to_thread, prover.stop, limits.grace_s)
    threads = parts.enter_context(ThreadPoolExecutor(THREADS, "vml-model"))
    proving = settings.proving
    metrics = Metrics()
    metrics.describe_executor(prover.describe)
    server = Server(
        settings=settings,
        models=models,
        signer=signer,
        guard=guard,
        store=store,
        writer=writer,
        checkpoints=Checkpoints(store, log_key),
        executor=prover,
        watch=Watch(store.job),
        metrics=metrics,
        rates=Rates(),
        reading=Reading(limits.body_bytes, limits.body_s, READING_BYTES),
        threads=threads,
        slots=Slots(limits.concurrent),
        checking=Slots(checking.AT_ONCE),
        beacon=None if proving.beacon is None else open_beacon(proving.beacon, proving.beacon_rounds),
    )
    work = [_warm(server), server.watch.run(), _count(server), _tidy(server)]
    if server.beacon is not None:
        work.append(server.beacon.run(store, metrics.beacon.set))
    tasks = [asyncio.create_task(one) for one in work]

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    parts.push_async_callback(end)
    return server


def make_executor(settings: Settings) -> Executor:
    """Who proves, by the settings.

    Raises:
        BackendUnavailable: the extra ``ray`` is not installed.
    """
    work = Work(
        url=settings.url,
        models={name: str(folder.absolute()) for name, folder in settings.models.items()},
        options=settings.options,
        backends=tuple(sorted(settings.proving.backends)),
    )
    if settings.executor != "local":
        from vml.serve.ray_executor import RayExecutor

        return RayExecutor(work, settings.executor)
    if settings.workers == 0:
        return Nobody()
    from vml.serve.pool import Pool

    return Pool(work, workers=settings.workers)


class Nobody:
    """An executor that leaves the work to others who share the database."""

    def start(self) -> None:
        """Nothing to begin."""

    def stop(self, grace_s: float) -> None:
        """Nothing to end."""

    def describe(self) -> dict[str, Any]:
        """No workers."""
        return {"kind": "none", "workers": 0, "alive": 0}


async def _warm(server: Server) -> None:
    """Make the models ready, one after the other."""
    for served in server.models.values():
        try:
            served.backend = await asyncio.to_thread(_choose, served, server.settings.proving)
            await asyncio.to_thread(served.warm)
        except Exception as error:  # said once, and the model is never ready
            log.error("model not ready", extra={"fields": {"model": served.name, "kind": type(error).__name__}})
            continue
        fields = {"model": served.name, "backend": served.backend, "ms": round(1000 * served.run_s, 2)}
        log.info("model ready", extra={"fields": fields})
    server.metrics.ready.set(float(server.ready))


def _choose(served: Served, proving: Proving) -> str | None:
    """Who proves a model where a request does not say; None where nobody can."""
    if proving.backend != "auto":
        return proving.backend
    options = api.plan(served.model)
    best = api.picked(tuple(option for option in options if option.backend in proving.backends))
    return None if best is None else best.backend


async def _count(server: Server) -> None:
    """Keep the number of jobs that have not ended, for figures."""
    while True:
        with suppress(StoreUnavailable):
            server.metrics.jobs.set(await asyncio.to_thread(server.store.depth))
        server.metrics.inferences.set(server.slots.taken)
        await asyncio.sleep(COUNT_S)


async def _tidy(server: Server) -> None:
    """Forget inputs and idempotency keys whose time is over."""
    while True:
        with suppress(StoreUnavailable):
            now = time.time()
            await asyncio.to_thread(server.store.forget_inputs, now - server.settings.keep_inputs_s)
            await asyncio.to_thread(server.store.forget_keys, now - KEYS_KEPT_S)
        await asyncio.sleep(TIDY_S)


async def _answer_error(request: Request, error: Exception) -> Response:
    """Every error, as the protocol says it: {"error": "…"}."""
    rejected = _rejected(error)
    return JSONResponse({"error": rejected.error}, rejected.status, headers=rejected.headers)


def _rejected(error: Exception) -> Rejected:
    """What an error is to a client."""
    match error:
        case Rejected():
            return error
        case HTTPException():
            return Rejected(error.status_code, str(error.detail), headers=dict(error.headers or {}))
        case RequestValidationError():
            places = ["/".join(map(str, problem["loc"])) + ": " + str(problem["msg"]) for problem in error.errors()]
            return Rejected(422, "; ".join(places[:5])[:1000])
        case BadRequest() | BadTensor() | Refused():
            return Rejected(400, str(error))
        case OutOfRange():
            return Rejected(422, str(error))
        case Overloaded():
            return Rejected(429, str(error), retry_after_s=error.retry_after_s)
        case IdempotencyConflict() | InputsNotKept():
            return Rejected(409, str(error))
        case StoreUnavailable():
            return Rejected(503, "the database does not answer: nothing was recorded", retry_after_s=2)
        case BackendUnavailable():
            return Rejected(503, str(error), retry_after_s=3600)
    return Rejected(500, "a defect of the server; its log says where")
