"""Worker processes of this machine: started, replaced when they die, ended with the server."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.context import SpawnProcess
from multiprocessing.util import Finalize
from secrets import token_hex
from typing import Any

from vml.serve import worker
from vml.serve.executor import Work
from vml.serve.refusals import StoreUnavailable
from vml.serve.store import Store

log = logging.getLogger(__name__)

_LOOK_S = 0.1
_EXPIRE_S = 5.0
_STEADY_S = 60.0
"""A worker that lived so long is started again at once; one that did not, after a pause that doubles."""
_LONGEST_PAUSE_S = 30.0
_HAND_BACK_S = 3.0


@dataclass
class _Seat:
    """The place of one worker: who sits there, since when, and when the next one may."""

    process: SpawnProcess | None = None
    pid: int = 0
    name: str = ""
    since: float = 0.0
    pause_s: float = 0.0
    not_before: float = 0.0

    @property
    def lives(self) -> bool:
        """Whether the worker runs. One that ended stays a zombie meanwhile, so that its number means nobody else."""
        try:
            return self.pid > 0 and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False


class Pool:
    """An `Executor` of worker processes on this machine.

    Args:
        work: what they need to know.
        workers: how many.
        target: what each process runs, as `vml.serve.worker.run`; a function that can be imported.
    """

    def __init__(self, work: Work, *, workers: int = 1, target: Callable[[Work, str, int], None] = worker.run) -> None:
        if workers < 1:
            raise ValueError("a pool has at least one worker")
        cores = len(os.sched_getaffinity(0))
        self._work = replace(work, threads=work.threads or max(1, cores // workers))
        self._target = target
        self._seats = [_Seat() for _ in range(workers)]
        self._restarts = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the workers; returns at once."""
        if self._thread is not None:
            raise RuntimeError("this pool was started already")
        # When the interpreter ends, before multiprocessing waits for its children for ever.
        self._at_exit = Finalize(None, self.stop, (0.0,), exitpriority=0)
        self._thread = threading.Thread(target=self._supervise, name="vml-pool", daemon=True)
        self._thread.start()

    def stop(self, grace_s: float) -> None:
        """Let the workers end their present jobs for a while, then make them hand these back. Blocks."""
        if self._thread is None:
            return
        self._stopping.set()
        self._thread.join()
        self._at_exit.cancel()
        for sign, patience_s in (signal.SIGUSR1, grace_s), (signal.SIGTERM, _HAND_BACK_S):
            for seat in self._sitting():
                with suppress(ProcessLookupError):
                    os.kill(seat.pid, sign)
            ends_at = time.monotonic() + patience_s
            while self._sitting() and time.monotonic() < ends_at:
                time.sleep(_LOOK_S / 2)
        store = self._open()
        for seat in self._seats:
            self._bury(seat, store)
        if store is not None:
            store.close()

    def alive(self) -> int:
        """How many workers live."""
        return len(self._sitting())

    def describe(self) -> dict[str, Any]:
        """``kind``, ``workers``, ``alive``, ``restarts``, and the process ids of those that live."""
        pids = [seat.pid for seat in self._sitting()]
        return {
            "kind": "local",
            "workers": len(self._seats),
            "alive": len(pids),
            "restarts": self._restarts,
            "pids": pids,
        }

    def _sitting(self) -> list[_Seat]:
        return [seat for seat in self._seats if seat.lives]

    def _supervise(self) -> None:
        # Every worker is started by this thread and looked after by it alone.
        store, expired_at = None, 0.0
        while not self._stopping.is_set():
            store = store or self._open()
            for seat in self._seats:
                if seat.process is not None and not seat.lives:
                    self._bury(seat, store)
                    self._restarts += 1
                if seat.process is None and time.monotonic() >= seat.not_before:
                    self._seat(seat)
            if store is not None and time.monotonic() > expired_at + _EXPIRE_S:
                expired_at = time.monotonic()
                with suppress(StoreUnavailable):
                    store.expire()
            self._stopping.wait(_LOOK_S)
        if store is not None:
            store.close()

    def _open(self) -> Store | None:
        try:
            return Store.open(self._work.url, retry_s=self._work.retry_s, patience_s=1.0)
        except StoreUnavailable as error:
            log.warning("%s", error)
            return None

    def _seat(self, seat: _Seat) -> None:
        seat.name = f"{socket.gethostname()}/{os.getpid()}/{token_hex(4)}"
        seat.since = time.monotonic()
        context = multiprocessing.get_context("spawn")
        seat.process = context.Process(target=self._target, args=(self._work, seat.name, os.getpid()), name=seat.name)
        seat.process.start()
        seat.pid = seat.process.pid or 0

    def _bury(self, seat: _Seat, store: Store | None) -> None:
        """End what a dead worker started, give its job to others at once, and say when the next one may start."""
        if seat.process is None:
            return
        # Only a number that nobody else can have by now is signalled: the worker lives, or is a zombie.
        with suppress(ProcessLookupError, ChildProcessError):
            os.waitid(os.P_PID, seat.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            os.kill(seat.pid, signal.SIGKILL)
            os.killpg(seat.pid, signal.SIGKILL)
        seat.process.join()
        log.info("worker %s ended with %s", seat.name, seat.process.exitcode)
        seat.process.close()
        seat.process, seat.pid = None, 0
        steady = time.monotonic() - seat.since > _STEADY_S
        seat.pause_s = 0.0 if steady else min(_LONGEST_PAUSE_S, 2 * seat.pause_s or 0.1)
        seat.not_before = time.monotonic() + seat.pause_s
        if store is not None:
            with suppress(StoreUnavailable):  # else its lease runs out by itself
                store.expire(seat.name)
