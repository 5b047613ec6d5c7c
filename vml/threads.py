"""One thread pool for the executor and the provers: kernels and BLAS calls release the interpreter lock.

Work is cut into more blocks than threads and handed out as threads become free, so that a core taken away by another
process delays one block, not every loop.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = int(os.environ.get("VML_THREADS", 0)) or _CORES
"""All cores, or ``VML_THREADS``: several provers on one machine share it."""
BLOCKS = 4 * THREADS


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "vml")


def run_all(tasks: Iterable[Callable[[], object]]) -> None:
    """Run every task, on all threads; the first exception is raised."""
    deque(_pool().map(_call, tasks), maxlen=0)


def over_blocks(count: int, work: Callable[[slice], object]) -> None:
    """Cut 0..count into BLOCKS slices and run ``work`` on each."""
    step = max(1, -(-count // BLOCKS))
    blocks = [slice(start, min(count, start + step)) for start in range(0, count, step)]
    deque(_pool().map(work, blocks), maxlen=0)


def _call(task: Callable[[], object]) -> object:
    return task()
