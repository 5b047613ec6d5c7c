"""One running server: what its routes work with, and how they find it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vml.serve.auth import require
from vml.serve.limits import Rejected

if TYPE_CHECKING:
    from starlette.requests import Request

    from vml.serve.auth import Guard, Principal
    from vml.serve.beacon import Beacon
    from vml.serve.checkpoints import Checkpoints
    from vml.serve.engine import Served
    from vml.serve.executor import Executor
    from vml.serve.limits import Rates, Reading, Slots
    from vml.serve.metrics import Metrics
    from vml.serve.receipts import Signer
    from vml.serve.records import Job
    from vml.serve.settings import Settings
    from vml.serve.store import Store
    from vml.serve.streams import Watch
    from vml.serve.writer import GroupWriter

PRINCIPAL = "vml.principal"
"""Where the gate puts who asks, in a request's scope."""

INSIDE = "vml.inside"
"""Set in the scope of a request that `vml.serve.middleware` makes itself; nothing that clients send is there."""


@dataclass(frozen=True)
class Server:
    """What routes work with.

    Args:
        settings: of its owner.
        models: by name.
        signer: of receipts.
        guard: tells who asks.
        store: of claims, jobs and proofs; its calls block.
        writer: remembers answers, many at once.
        checkpoints: of the transparency log.
        executor: makes proofs.
        watch: follows jobs.
        metrics: figures.
        rates: of clients.
        reading: bodies on their way.
        threads: where models run that take their time.
        slots, checking: inferences and verifications at once.
        beacon: decides samples; None where there is none.
    """

    settings: Settings
    models: Mapping[str, Served]
    signer: Signer
    guard: Guard
    store: Store
    writer: GroupWriter
    checkpoints: Checkpoints
    executor: Executor
    watch: Watch
    metrics: Metrics
    rates: Rates
    reading: Reading
    threads: ThreadPoolExecutor
    slots: Slots
    checking: Slots
    beacon: Beacon | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def ready(self) -> bool:
        """Whether every model is warm and nothing is being shut down."""
        return not self._stopping.is_set() and all(served.ready for served in self.models.values())

    def stop(self) -> None:
        """Say that the end has begun: not ready any more, and nobody waits for jobs."""
        self._stopping.set()
        self.watch.close()

    def model(self, name: str, version: str | None = None) -> Served:
        """A model by its name.

        Raises:
            Rejected: 404.
        """
        served = self.models.get(name)
        if served is None:
            raise Rejected(404, "no such model; GET /v1/models lists them")
        if version is not None and version != served.version:
            raise Rejected(404, f"the model {served.name!r} has the one version {served.version}")
        return served


def server_of(request: Request) -> Server:
    """The server that a request came to."""
    server: Server = request.app.state.server
    return server


def principal_of(request: Request, role: str) -> Principal:
    """Who asks, if they may.

    Raises:
        Rejected: 403.
    """
    principal: Principal = request.scope[PRINCIPAL]
    require(principal, role)
    return principal


def show_job(job: Job) -> dict[str, object]:
    """A job as JSON."""
    return {
        "id": job.id,
        "claim": "0x" + job.claim.hex(),
        "model_name": job.model_name,
        "backend": job.backend,
        "state": str(job.state),
        "priority": job.priority,
        "stage": job.stage,
        "fraction": job.fraction,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "cancel_asked": job.cancel_asked,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "error_code": job.error_code,
        "error": job.error,
        "proof_claims": ["0x" + digest.hex() for digest in job.proof_claims],
        "proof": f"/v1/proofs/0x{job.claim.hex()}?backend={job.backend}" if job.state == "proved" else None,
    }
