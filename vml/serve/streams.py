"""Waiting for jobs: one reader of the database for everybody who waits, and server-sent events.

Source: WHATWG HTML, section 9.2 (server-sent events).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vml.serve.records import Job
from vml.serve.refusals import StoreUnavailable

LOOK_S = 0.15
"""Between two looks at the jobs that somebody waits for."""

ALIVE_S = 15.0
"""Without news a comment is sent this often, so that nobody in between closes the connection."""


@dataclass
class _Seen:
    """One job that is waited for, by how many, and its latest state."""

    job: Job | None = None
    waiting: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Watch:
    """Follows jobs.

    Args:
        read: the store's `job`; blocks.
    """

    def __init__(self, read: Callable[[str], Job | None]) -> None:
        self._read = read
        self._seen: dict[str, _Seen] = {}
        self._wanted = asyncio.Event()
        self.closed = False

    async def run(self) -> None:
        """Look at the jobs until cancelled."""
        while True:
            await self._wanted.wait()
            names = list(self._seen)
            if not names:
                self._wanted.clear()
                continue
            try:
                jobs = await asyncio.to_thread(self._look, names)
            except StoreUnavailable:
                jobs = []
            for name, job in zip(names, jobs, strict=False):
                seen = self._seen.get(name)
                if seen is not None and job != seen.job:
                    seen.job = job
                    self._tell(seen)
            await asyncio.sleep(LOOK_S)

    def _look(self, names: Sequence[str]) -> list[Job | None]:
        return [self._read(name) for name in names]

    def close(self) -> None:
        """Let everybody who waits go."""
        self.closed = True
        for seen in self._seen.values():
            self._tell(seen)

    async def follow(self, job: Job) -> AsyncIterator[Job | None]:
        """A job's states, the first at once; None when there was no news for a while. Ends with the job or the server.

        Args:
            job: as it was just read.
        """
        seen = self._seen.setdefault(job.id, _Seen(job))
        seen.waiting += 1
        self._wanted.set()
        latest: Job | None = job
        try:
            yield job
            while not self.closed and latest is not None and not latest.state.ended:
                news = seen.news
                if seen.job == latest:
                    try:
                        async with asyncio.timeout(ALIVE_S):
                            await news.wait()
                    except TimeoutError:
                        yield None
                        continue
                if seen.job != latest and seen.job is not None:
                    latest = seen.job
                    yield latest
        finally:
            seen.waiting -= 1
            if not seen.waiting:
                self._seen.pop(job.id, None)

    async def ended(self, job: Job, seconds: float) -> Job:
        """Wait until a job has ended.

        Args:
            job: as it was just read.
            seconds: no longer than this.

        Returns:
            The job as it then stands, ended or not.
        """
        latest = job
        try:
            async with asyncio.timeout(seconds):
                async for state in self.follow(job):
                    latest = latest if state is None else state
        except TimeoutError:
            pass
        return latest

    @staticmethod
    def _tell(seen: _Seen) -> None:
        seen.news.set()
        seen.news = asyncio.Event()


async def events(watch: Watch, job: Job, show: Callable[[Job], dict[str, Any]]) -> AsyncIterator[bytes]:
    """A job's states as server-sent events: "progress" with the job, at last "end" with the job.

    Args:
        watch: follows it.
        job: as it was just read.
        show: the job as JSON.
    """
    latest = job
    async for state in watch.follow(job):
        if state is None:
            yield b": still there\n\n"
            continue
        latest = state
        yield _event("progress", show(state))
    if latest.state.ended:
        yield _event("end", show(latest))


def _event(name: str, value: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()
