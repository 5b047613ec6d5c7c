"""Commitment speed: tensor data committed a second, by dtype and size, in bulk and one call a leaf.

Run: ``python -m benchmarks.commitment``; writes ``results/commitment.json``: for each case the best of several runs
of the whole tensor root (leaves, tree, header), in megabytes (10**6 bytes) of tensor data a second, and a second of
processor time, which a busy machine disturbs less.
"""

from __future__ import annotations

import time
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.machine import publish
from vml import merkle

REPEATS = 5
CASES = [
    ("int8", 1_000_000),
    ("int16", 1_000_000),
    ("int16", 16_000_000),
    ("int8", 128_000_000),
    ("int16", 128_000_000),
    ("int32", 128_000_000),
    ("int64", 128_000_000),
]


def drawn(dtype: str, size: int) -> np.ndarray:
    """A tensor of `size` bytes over the whole range of its dtype, always the same."""
    return np.frombuffer(np.random.default_rng(0).bytes(size), dtype=dtype)


def timed(array: np.ndarray, path: str) -> dict[str, object]:
    """One row of the table."""
    wall, cpu = [], []
    for _ in range(REPEATS):
        start, start_cpu = time.perf_counter(), time.process_time()
        merkle.tensor_root(array)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    megabytes = array.nbytes / 1e6
    return {
        "dtype": str(array.dtype),
        "bytes": array.nbytes,
        "path": path,
        "mb_per_s": megabytes / min(wall),
        "mb_per_cpu_s": megabytes / min(cpu),
    }


def measure() -> dict[str, Any]:
    """Every case in bulk, the 1 MB ones also without the kernels."""
    from vml import kernels_keccak

    kernels_keccak.leaf_digests(drawn("int8", 2_000_000))  # compiled and loaded before the clock runs
    kernels_keccak.node_digests(bytes(2_000_000))
    rows = []
    for dtype, size in CASES:
        array = drawn(dtype, size)
        rows.append(timed(array, "numba"))
        if size <= 1_000_000:
            with mock.patch.object(merkle, "_bulk_pays", return_value=False):
                rows.append(timed(array, "pycryptodome"))
    return {"repeats": REPEATS, "rows": rows}


def main() -> None:
    publish("commitment", ["vml", "numba", "numpy", "pycryptodome"], measure())


if __name__ == "__main__":
    main()
