"""Products through float64 BLAS equal int64 arithmetic, also where they are cut into slabs, columns and threads."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vml.model import contract
from vml.model.builder import Builder
from vml.model.codec import View
from vml.model.executor import Executor
from vml.model.graph import TensorSpec
from vml.model.views import read

CASES = {
    # name: output loops, contracted loops, a's view and size, b's view and size
    "3x3 windows, many slabs": (
        (1, 40, 40, 24),
        (3, 3, 32),
        ((0, 1344, 32, 0, 1344, 32, 1), 56448),
        ((0, 0, 0, 288, 96, 32, 1), 6912),
    ),
    "few rows, wide columns": ((1, 4, 700), (900,), ((0, 900, 0, 1), 3600), ((0, 0, 900, 1), 630000)),
    "strided windows": ((30, 30, 40), (5, 5, 8), ((1008, 16, 0, 504, 8, 1), 31752), ((0, 0, 200, 40, 8, 1), 8000)),
    "batch of two activations": ((6, 70, 70), (64,), ((4480, 64, 0, 1), 26880), ((4480, 0, 64, 1), 26880)),
    "batch too large for one slab": ((3, 400, 90), (256,), ((102400, 256, 0, 1), 307200), ((23040, 0, 256, 1), 69120)),
    "depthwise": ((20, 20, 64), (3, 3), ((1408, 64, 1, 1408, 64), 30976), ((0, 0, 9, 3, 1), 576)),
    "reversed and broadcast": ((50, 60), (70,), ((0, 0, -1), 70), ((0, 1, 0), 60)),
}


@pytest.mark.parametrize("name", CASES)
def test_products_equal_int64(name: str) -> None:
    loops, terms, (a_strides, a_size), (b_strides, b_size) = CASES[name]
    rng = np.random.default_rng(len(name))
    a = rng.integers(-32767, 32768, a_size).astype(np.int16)
    b = rng.integers(-32767, 32768, b_size).astype(np.int16)
    builder = Builder(name=name)
    x = builder.input(0, (a_size,), -32767, 32767, Fraction(1), "float")
    w, bias = builder.constant(b), builder.constant(rng.integers(-1000, 1000, loops[-1]))
    lowest = -sum(min(0, s * (n - 1)) for s, n in zip(a_strides, (*loops, *terms), strict=True))
    a_view, b_view = View(lowest, a_strides), View(0, b_strides)
    bias_view = View(0, (*(0 for _ in loops[:-1]), 1))
    y = builder.dot(loops, terms, (x, a_view), (w, b_view), (bias, bias_view))
    spec = TensorSpec("x", "float32", x.ref, builder.header(x), Fraction(1))
    graph, _ = builder.finish([spec], [TensorSpec("y", "float32", y.ref, builder.header(y), Fraction(1))])
    window = read(a, a_view, (*loops, *terms)).astype(np.int64)
    weights = read(b, b_view, (*loops, *terms)).astype(np.int64)
    expected = (window * weights).sum(axis=tuple(range(len(loops), window.ndim)))
    expected += builder.constants[bias.ref].astype(np.int64)
    assert np.array_equal(Executor(graph).run({"x": a})["y"], expected)


def test_the_cases_reach_every_way_of_cutting(monkeypatch: pytest.MonkeyPatch) -> None:
    """At least one case is cut by rows, one by columns, one per batch; several run on the thread pool."""
    shapes: list[list[tuple[int, ...]]] = []
    fill = contract._pieces

    def record(out: contract.Array, window: contract.Array, right: contract.Array) -> list[contract._Piece]:
        pieces = list(fill(out, window, right))
        shapes.append([piece.out.shape for piece in pieces] if len(pieces) > 1 else [])
        return pieces

    monkeypatch.setattr(contract, "_pieces", record)
    monkeypatch.setattr(contract, "THREADS", 2)
    for name in CASES:
        test_products_equal_int64(name)
    cut = [s for s in shapes if s]
    assert any(len({rows for rows, _ in s}) == 1 and sum(c for _, c in s) == 700 for s in cut), "never by columns"
    assert any(sum(rows for rows, _ in s) == 1600 for s in cut), "never by rows"


def test_self_test_notices_an_inexact_product() -> None:
    contract.self_test()
    with pytest.raises(RuntimeError, match="not exact"):
        contract.self_test(lambda a, b: (a.astype(np.float32) @ b.astype(np.float32)).astype(np.float64))
