"""Runs ezkl in a process of its own, with progress, a time limit and a memory limit.

What goes wrong in there comes out as a typed error: a refusal by ezkl, a Rust panic, a crash, too much time,
too much memory.
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from vml.backends.ezkl.statement import ENGINE_VERSION
from vml.backends.types import Progress
from vml.errors import BackendUnavailable, ProvingError

POLL_S = 0.05
_NEARLY_DONE = 0.97
_LOG_TAIL = 2000

FailureKind = Literal["error", "panic", "crash", "time", "memory"]


class EngineFailed(ProvingError):
    """ezkl did not do a job.

    Args:
        kind: ``error`` (it said so), ``panic`` (a bug in it), ``crash`` (the process died), ``time`` or
            ``memory`` (stopped by us).
        operation: which job.
        message: in ezkl's words where it has any.
    """

    def __init__(self, kind: FailureKind, operation: str, message: str) -> None:
        self.kind, self.operation, self.message = kind, operation, message
        super().__init__(f"ezkl {operation}: {message}")


def require_engine() -> None:
    """Return when the tested release of ezkl is installed, without loading it.

    Raises:
        BackendUnavailable: what to install.
    """
    try:
        found = version("ezkl")
        version("psutil")
    except PackageNotFoundError as error:
        raise BackendUnavailable(f"{error.name} is missing: pip install 'vml[ezkl]'") from error
    if found != ENGINE_VERSION:
        raise BackendUnavailable(f"ezkl {found} is installed, {ENGINE_VERSION} is needed: pip install 'vml[ezkl]'")


class Engine:
    """A running ezkl; use it as a context manager.

    Args:
        memory_limit_bytes: resident memory above which the process is stopped; None sets no limit.
        time_limit_s: seconds all jobs together may take; None sets no limit.
        progress: called with the stage's name and the fraction that is done by prediction.
    """

    def __init__(
        self,
        *,
        memory_limit_bytes: int | None = None,
        time_limit_s: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        require_engine()
        self._memory_limit, self._progress = memory_limit_bytes, progress
        self._deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
        self.peak_bytes = 0

    def __enter__(self) -> Engine:
        self._log: IO[bytes] = tempfile.TemporaryFile()
        # -P keeps the caller's folder off the path: a file named json.py there must not be imported.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._pending = b""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Every answer is in and every file written: nothing is lost, and leaving politely takes its time.
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            # A process that is gone breaks the pipe with a job still in it.
            with suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()

    def call(self, operation: str, *, stage: str = "", predicted_s: float = 0.0, **arguments: Any) -> Any:
        """Do one job and wait for it.

        Args:
            operation: a name in the worker's table.
            stage: what progress calls it; empty reports nothing.
            predicted_s: expected seconds, for the fraction that progress shows.
            arguments: of the operation, JSON values.

        Returns:
            The operation's result.

        Raises:
            EngineFailed: it did not succeed.
        """
        job = json.dumps({"operation": operation, "arguments": arguments}).encode() + b"\n"
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the engine is not running")
        # Limits hold before the job as well: a short one may be done before anybody looks.
        self._watch(operation, time.monotonic())
        try:
            self._process.stdin.write(job)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._crash(operation) from None
        answer = self._answer(operation, stage, predicted_s)
        if "failed" in answer:
            if answer["failed"] == "missing":
                raise BackendUnavailable(f"ezkl cannot be loaded: {answer['message']}")
            raise EngineFailed(answer["failed"], operation, answer["message"])
        if stage and self._progress:
            self._progress(stage, 1.0)
        return answer["result"]

    def _answer(self, operation: str, stage: str, predicted_s: float) -> dict[str, Any]:
        """Wait for a line while watching clock and memory."""
        started = time.monotonic()
        stdout = self._process.stdout
        if stdout is None:
            raise RuntimeError("the engine is not running")
        while b"\n" not in self._pending:
            if select.select([stdout], [], [], POLL_S)[0]:
                chunk = stdout.read1(1 << 20)  # type: ignore[attr-defined]
                if not chunk:
                    raise self._crash(operation)
                self._pending += chunk
                continue
            now = time.monotonic()
            self._watch(operation, now)
            if stage and self._progress:
                fraction = min((now - started) / predicted_s, _NEARLY_DONE) if predicted_s > 0 else 0.0
                self._progress(stage, fraction)
        line, self._pending = self._pending.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _watch(self, operation: str, now: float) -> None:
        """Stop the process when it takes too long or too much.

        Raises:
            EngineFailed: it was stopped.
        """
        import psutil

        try:
            used = psutil.Process(self._process.pid).memory_info().rss
        except psutil.NoSuchProcess:
            return
        self.peak_bytes = max(self.peak_bytes, used)
        if self._memory_limit is not None and used > self._memory_limit:
            self._process.kill()
            limit = self._memory_limit / 2**30
            raise EngineFailed("memory", operation, f"stopped above the memory limit of {limit:.1f} GiB")
        if self._deadline is not None and now >= self._deadline:
            self._process.kill()
            raise EngineFailed("time", operation, "stopped at the time limit")

    def _crash(self, operation: str) -> EngineFailed:
        """What to say of a process that is gone."""
        code = self._process.wait()
        self._log.seek(0)
        tail = self._log.read()[-_LOG_TAIL:].decode(errors="replace").strip()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return EngineFailed("crash", operation, f"the process ended with {how}" + (f": {tail}" if tail else ""))
