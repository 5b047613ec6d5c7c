"""The process between the store and a Ray cluster: leases jobs, submits them, keeps the leases, publishes proofs."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vml.serve.executor import Work

if TYPE_CHECKING:
    from vml.backends.types import Keys
    from vml.model import Model
    from vml.proof import Proof
    from vml.ray.answers import Ended
    from vml.ray.cluster import Cluster, Need
    from vml.ray.kit import Kit
    from vml.serve.records import Lease
    from vml.serve.store import Store

log = logging.getLogger(__name__)

FIGURES = ("nodes", "processes", "busy", "waiting")
"""What the server is told of the cluster, as `vml.ray.crew.Crew.describe` counts it."""

_LOOK_S, _POLL_S, _TELL_S, _IDLE_S = 0.5, 0.1, 1.0, 5.0


def run(cluster: str, figures: Any, work: Work, name: str, parent: int) -> None:
    """Be the process: as `vml.serve.worker.run`, for many jobs at a time.

    SIGUSR1 asks to end after the present jobs, SIGTERM to hand them back. It ends when its parent is gone.

    Args:
        cluster: which one, as `vml.ray.connect` takes it.
        figures: shared numbers to write `FIGURES` into.
        work: what the nodes shall prove.
        name: of this worker; nobody else ever has it.
        parent: process id of the server.
    """
    os.setpgid(0, 0)  # so that it and what it starts can be ended together, and Ctrl-C leaves it alone
    from vml.errors import BackendUnavailable
    from vml.ray import connect
    from vml.serve.holding import kill_group
    from vml.serve.store import Store

    drain, stop = threading.Event(), threading.Event()

    def die_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        kill_group()

    threading.Thread(target=die_with_parent, name="vml-parent", daemon=True).start()
    figures[:] = [0] * len(FIGURES)
    store = Store.open(work.url, retry_s=work.retry_s)
    try:
        with connect(cluster) as connected:
            # Set last: Ray has ideas of its own about signals.
            signal.signal(signal.SIGUSR1, lambda *_: drain.set())
            signal.signal(signal.SIGTERM, lambda *_: stop.set())
            Dispatcher(work, name, store, connected, figures).serve(drain, stop)
    except BackendUnavailable as error:
        log.warning("%s", error)
        raise SystemExit(BackendUnavailable.exit_code) from None
    finally:
        store.close()


@dataclass(frozen=True)
class _Ready:
    """A model and keys, packed."""

    model: Model
    keys: Keys
    kit: Kit
    need: Need


@dataclass
class _Job:
    """A job that is held here."""

    lease: Lease
    ready: Future[_Ready]
    begun: float
    submitted: bool = False
    made: Proof | None = None
    told: tuple[str, float] = ("", 0.0)
    told_at: float = 0.0


class Dispatcher:
    """Moves jobs from the store to a cluster and proofs back; one thread, besides one that makes keys.

    Args:
        work: what to do.
        name: of this worker.
        store: of the jobs.
        cluster: connected.
        figures: see `run`.
        holder: class of the processes on the nodes; None for the real one.
    """

    def __init__(
        self, work: Work, name: str, store: Store, cluster: Cluster, figures: Any, holder: type | None = None
    ) -> None:
        from vml.ray.crew import Crew
        from vml.ray.holder import KeyHolder

        self._work, self._name, self._store, self._figures = work, name, store, figures
        self._crew = Crew(cluster, holder or KeyHolder)
        self._maker = ThreadPoolExecutor(1, "vml-keys")
        self._kits: dict[tuple[str, str], Future[_Ready]] = {}
        self._jobs: dict[str, _Job] = {}
        self._asked_at = 0.0

    def serve(self, drain: threading.Event, stop: threading.Event) -> None:
        """Take jobs until `drain` is set and none is left; hand all back when `stop` is.

        Raises:
            ProvingError: the cluster is gone; the jobs went back into the line.
        """
        try:
            while not stop.is_set() and not (drain.is_set() and not self._jobs):
                if not drain.is_set():
                    self._lease()
                self._submit()
                for end in self._crew.poll(_POLL_S):
                    self._publish(end)
                self._hand_in()
                self._beat()
                self._figures[:] = [self._crew.describe()[figure] for figure in FIGURES]
        finally:
            from vml.serve.refusals import LeaseLost, StoreUnavailable

            self._crew.close()
            for job in self._jobs.values():
                with suppress(LeaseLost, StoreUnavailable):  # then it runs out by itself
                    self._store.release(job.lease)
            self._maker.shutdown(wait=False, cancel_futures=True)

    def _lease(self) -> None:
        """As many jobs as the nodes can work on at a time."""
        from vml.ray.cluster import Need
        from vml.serve.refusals import StoreUnavailable

        now = time.monotonic()
        if now < self._asked_at + self._work.poll_s:
            return
        needs = [ready.result().need for ready in self._kits.values() if ready.done() and not ready.exception()]
        # The heaviest proof says how many there may be: jobs that wait here are not anybody else's.
        room = self._crew.slots(max(needs, key=lambda need: need.memory_bytes, default=Need(0)))
        while len(self._jobs) < max(1, room):
            try:
                lease = self._store.lease(
                    self._name,
                    seconds=self._work.lease_s,
                    backends=self._work.backends,
                    models=list(self._work.models),
                )
            except StoreUnavailable as error:
                log.warning("no job to be had: %s", error)
                lease = None
            if lease is None:
                self._asked_at = now
                return
            self._jobs[lease.job] = _Job(lease, self._ready(lease), now, told_at=now)

    def _ready(self, lease: Lease) -> Future[_Ready]:
        """Model and keys of a job, made once, while the other jobs go on."""
        which = lease.model_name, lease.backend
        known = self._kits.get(which)
        if known is None or (known.done() and known.exception() is not None):
            self._kits[which] = self._maker.submit(self._make, *which)
        return self._kits[which]

    def _make(self, model_name: str, backend: str) -> _Ready:
        from vml import api
        from vml.backends.types import SetupOptions
        from vml.ray.kit import pack
        from vml.ray.proving import need_of

        options = self._work.options.get(backend, SetupOptions())
        model = api.load_model(self._work.models[model_name])
        keys = api.setup(model, backend, replace(options, progress=None))
        need = need_of(model, backend, options.visibility, cpus=max(1, self._work.threads))
        return _Ready(model, keys, pack(model, keys, options.visibility), need)

    def _submit(self) -> None:
        """Jobs whose keys are there by now."""
        from vml.errors import ClaimMismatch
        from vml.ray.crew import Task
        from vml.serve.refusals import InputsNotKept

        for job in [job for job in self._jobs.values() if not job.submitted and job.ready.done()]:
            lease = job.lease
            try:
                ready = job.ready.result()
                if not lease.inputs:
                    raise InputsNotKept("the inputs of this claim are not kept any more")
                if ready.model.commitment != lease.claim.model:
                    raise ClaimMismatch("model", lease.claim.model.hex(), ready.model.commitment.hex())
                self._crew.add(ready.kit, ready.need)
                self._crew.submit(Task(lease.job, ready.kit.name, dict(lease.inputs), lease.claim.context))
                job.submitted = True
            except Exception as error:
                self._fail(job, error)

    def _publish(self, end: Ended) -> None:
        """Take what a node sent, if it is a proof of the claim that was answered: `_hand_in` publishes it."""
        from vml.ray.checking import check
        from vml.ray.proving import keep_opening, salt_of

        job = self._jobs.get(end.id)
        if job is None:
            return
        if end.error is not None:
            self._fail(job, end.error)
            return
        lease, ready = job.lease, job.ready.result()
        try:
            job.made = check(
                end.proof,
                ready.keys,
                lease.claim.context,
                claims=(lease.claim,) if ready.keys.model == lease.claim.model else None,
                rows=[lease.inputs],
                visibility=ready.kit.visibility,
                salt=salt_of(end.opening),
            )
            keep_opening(job.made, end.opening, ready.keys)
        except Exception as error:
            log.warning("job %s: node %s", lease.job, end.node)
            self._fail(job, error)

    def _hand_in(self) -> None:
        """Publish proofs, each of which may have cost minutes: one that the database does not take now is kept."""
        from vml.serve.refusals import LeaseLost, StoreUnavailable

        for job in [job for job in self._jobs.values() if job.made is not None]:
            assert job.made is not None
            try:
                self._store.finish(job.lease, job.made)
            except StoreUnavailable as error:
                log.warning("job %s: the proof is not taken yet: %s", job.lease.job, error)
                return
            except LeaseLost as error:
                log.warning("job %s: %s", job.lease.job, error)
            except Exception as error:
                self._fail(job, error)
            self._jobs.pop(job.lease.job, None)

    def _beat(self) -> None:
        """Keep the leases, tell how far the proofs are, and hear who shall stop."""
        from vml.serve.refusals import JobCancelled, LeaseLost, StoreUnavailable, TimeLimit

        now, progress, limit = time.monotonic(), self._crew.progress(), self._work.time_limit_s
        for job in list(self._jobs.values()):
            if limit is not None and job.made is None and now > job.begun + limit:
                self._fail(job, TimeLimit("the attempt took longer than it may"), retry=False)
                continue
            waits = ("waiting for a node", 0.0, "") if job.made is None else ("handing in", 1.0, "")
            stage, fraction, _ = progress.get(job.lease.job, waits)
            new = (stage, fraction) != job.told and now > job.told_at + _TELL_S
            if not new and now < job.told_at + min(_IDLE_S, self._work.lease_s / 3):
                continue
            job.told, job.told_at = (stage, fraction), now
            try:
                if not self._store.beat(job.lease, seconds=self._work.lease_s, stage=stage, fraction=fraction):
                    self._fail(job, JobCancelled("cancelled on request"), retry=False)
            except LeaseLost as error:
                log.warning("job %s: %s", job.lease.job, error)
                self._drop(job)
            except StoreUnavailable:
                log.warning("job %s: the database does not answer, the proof goes on", job.lease.job)

    def _fail(self, job: _Job, error: Exception, *, retry: bool | None = None) -> None:
        from vml.serve.blame import blame, worth_retrying
        from vml.serve.refusals import LeaseLost, StoreUnavailable

        self._drop(job)
        log.warning("job %s, attempt %d: %s: %s", job.lease.job, job.lease.attempt, *blame(error))
        try:
            self._store.fail(job.lease, error, retry=worth_retrying(error) if retry is None else retry)
        except (LeaseLost, StoreUnavailable) as trouble:
            log.warning("job %s: %s; its lease runs out", job.lease.job, trouble)

    def _drop(self, job: _Job) -> None:
        self._jobs.pop(job.lease.job, None)
        self._crew.cancel(job.lease.job)
