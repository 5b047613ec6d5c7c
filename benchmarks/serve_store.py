"""What it costs to remember answers durably, and to take jobs from a long queue (SQLite, ``synchronous=FULL``).

Run: ``python -m benchmarks.serve_store [FOLDER]``. Writes ``results/serve_store.json``. The database lies in a new
folder in FOLDER, the working directory by default: on the disk that is to be measured, not in memory. Answers are those
of a small model with an input of 784 numbers; so many requests at once each wait for theirs before the next.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import publish
from vml.claim import ZERO_CONTEXT, Claim
from vml.proof import Proof
from vml.serve.records import NewAnswer, NewJob
from vml.serve.store import Store
from vml.serve.writer import GroupWriter

ANSWERS = 3000
DEPTH = 10_000
LEASES = 200


def answers(*, job: bool) -> Iterator[NewAnswer]:
    """Answers of claims that were never made before."""
    for number in count():
        tail = os.urandom(32)
        claim = Claim(b"\x01" * 32, tail, tail, ZERO_CONTEXT)
        inputs = {"x": np.full((1, 784), number, np.float32)} if job else {}
        yield NewAnswer(claim, "vml-int/1", "digits", inputs, b"[]", b"", NewJob("sumcheck") if job else None)


def latencies(seconds: list[float]) -> dict[str, float]:
    """Median and 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return {
        "p50_ms": round(1e3 * statistics.median(ordered), 2),
        "p99_ms": round(1e3 * ordered[int(0.99 * len(ordered))], 2),
    }


def record(store: Store, at_once: int, *, job: bool) -> dict[str, Any]:
    """So many requests at a time, each waiting until its answer is durable."""
    writer, supply, times = GroupWriter(store), answers(job=job), []

    async def client(number: int) -> None:
        for _ in range(number):
            answer = next(supply)
            started = time.perf_counter()
            await writer.record(answer)
            times.append(time.perf_counter() - started)

    async def clients() -> None:
        await asyncio.gather(*(client(ANSWERS // at_once) for _ in range(at_once)))

    started = time.perf_counter()
    asyncio.run(clients())
    elapsed = time.perf_counter() - started
    writer.close()
    return {"at_once": at_once, "jobs": job, "answers_per_s": round(len(times) / elapsed), **latencies(times)}


def repeated(work: Callable[[], object], times: int) -> dict[str, float]:
    """Latencies of one call."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return latencies(taken)


def sync_alone(folder: Path) -> dict[str, float]:
    """What the disk takes for 4 KiB, without any database."""
    with (folder / "sync").open("wb", buffering=0) as file:

        def write() -> None:
            file.write(bytes(4096))
            os.fdatasync(file.fileno())

        return repeated(write, LEASES)


def queue(store: Store) -> dict[str, Any]:
    """Taking and ending jobs of a queue that is long, and reading a page of claims meanwhile."""
    supply = answers(job=True)
    while store.depth() < DEPTH:
        store.record([next(supply) for _ in range(500)])

    def one_job() -> None:
        lease = store.lease("benchmark", seconds=60)
        assert lease is not None
        store.finish(lease, Proof("sumcheck/1", (lease.claim,), {}, bytes(50_000)))

    return {
        "depth": DEPTH,
        "lease_and_finish": repeated(one_job, LEASES),
        "page_of_claims": repeated(lambda: store.claims(limit=100), LEASES),
    }


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else ".") as folder:
        store = Store.open(f"sqlite:///{Path(folder).absolute() / 'vml.db'}", max_jobs=10 * DEPTH)
        measured = {
            "load_average": round(os.getloadavg()[0], 1),
            "fdatasync": sync_alone(Path(folder)),
            "record": [record(store, at_once, job=job) for job in (False, True) for at_once in (1, 16, 64)],
            "queue": queue(store),
        }
        store.close()
    publish("serve_store", ["sqlalchemy", "numpy"], measured)


if __name__ == "__main__":
    main()
