"""While a job is proved: its lease is kept alive, its progress told, and the prover stopped when it has to be."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType

from vml.serve.records import Lease
from vml.serve.refusals import JobCancelled, LeaseLost, StoreUnavailable, TimeLimit
from vml.serve.store import Store

log = logging.getLogger(__name__)

_TELL_S = 1.0
"""Progress is told at most so often: each time is a commit."""


class Interrupted(Exception):
    """The worker is asked to end; its job goes back."""


def kill_group() -> None:
    """End this process and those it started, now."""
    os.killpg(0, signal.SIGKILL)


class Holding:
    """A lease that is kept while the block runs; leaving it ends the thread that does so.

    Args:
        store: of the job.
        lease: of the job.
        lease_s: how long it lasts after each sign of life.
        stop: set when the worker shall end.
        time_limit_s: of the attempt; None for none.
        cancel_s: how long a prover that should stop may go on without looking up.
        kill: ends this process at once; for provers that do not look up.
    """

    def __init__(
        self,
        store: Store,
        lease: Lease,
        *,
        lease_s: float,
        stop: threading.Event,
        time_limit_s: float | None = None,
        cancel_s: float = 30.0,
        kill: Callable[[], None] = kill_group,
    ) -> None:
        self._store, self._lease, self._lease_s, self._stop = store, lease, lease_s, stop
        self._cancel_s, self._kill = cancel_s, kill
        self._ends_at = None if time_limit_s is None else time.monotonic() + time_limit_s
        self._latest = ("", 0.0)
        self._trouble: Exception | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="vml-lease", daemon=True)

    def __enter__(self) -> Holding:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def progress(self, stage: str, fraction: float) -> None:
        """For the prover: tell how far it is, and hear whether to go on.

        Raises:
            JobCancelled: somebody asked for that.
            LeaseLost: the job is somebody else's.
            TimeLimit: it has taken too long.
            Interrupted: the worker shall end.
        """
        self._latest = (stage, fraction)
        if self._trouble is not None:
            raise self._trouble
        if self._stop.is_set():
            raise Interrupted

    def _keep(self) -> None:
        told, beaten, asked_at = self._latest, time.monotonic(), None
        pause = min(_TELL_S, self._lease_s / 3)
        while not self._over.wait(pause):
            now = time.monotonic()
            if self._trouble is None and self._ends_at is not None and now > self._ends_at:
                self._trouble = TimeLimit("the attempt took longer than it may")
            if self._trouble is not None:
                asked_at = now if asked_at is None else asked_at
                if now > asked_at + self._cancel_s:
                    return self._give_up(self._trouble)
            if isinstance(self._trouble, LeaseLost) or (self._latest == told and now < beaten + self._lease_s / 3):
                continue
            told, beaten = self._latest, now
            try:
                go_on = self._store.beat(self._lease, seconds=self._lease_s, stage=told[0], fraction=told[1])
                if self._trouble is None and not go_on:
                    self._trouble = JobCancelled("cancelled on request")
            except LeaseLost as error:
                self._trouble = error
            except StoreUnavailable:
                log.warning("job %s: the database does not answer, the proof goes on", self._lease.job)

    def _give_up(self, trouble: Exception) -> None:
        """The prover does not look up: what it does is worth nothing any more."""
        try:
            if not isinstance(trouble, LeaseLost):
                self._store.fail(self._lease, trouble, retry=False)
        except (LeaseLost, StoreUnavailable):
            pass  # then the lease runs out by itself
        self._kill()
