"""The executor's kernels, which small graphs never reach, equal the primitives' formulas on large odd-sized tensors."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vml import threads
from vml.model.builder import Builder, Value
from vml.model.codec import View
from vml.model.executor import Executor
from vml.model.graph import Graph, TensorSpec
from vml.model.primitives import rescale
from vml.model.steps import KERNEL_ELEMENTS

SIZE = 100_003
ENDS = {"int8": 127, "int16": 32767, "int32": (1 << 31) - 1, "int64": 1 << 44}


def finish(b: Builder, x: Value, y: Value) -> Graph:
    specs = [TensorSpec(name, "float32", v.ref, b.header(v), Fraction(1)) for name, v in (("x", x), ("y", y))]
    graph, _ = b.finish(specs[:1], specs[1:])
    graph.validate()
    return graph


def codes(reach: int, size: int = SIZE) -> np.ndarray:
    drawn = np.random.default_rng(reach).integers(-reach, reach + 1, size)
    drawn[:2] = (-reach, reach)
    return drawn


def source(reach: int, size: int = SIZE) -> tuple[Builder, Value]:
    b = Builder(name="kernels")
    return b, b.input(0, (size,), -reach, reach, Fraction(1), "float")


@pytest.mark.parametrize("dtype", ENDS)
@pytest.mark.parametrize(("multiplier", "shift"), [(1, 16), (40_001, 16), (3, 48)])
def test_rescale(dtype: str, multiplier: int, shift: int) -> None:
    b, x = source(ENDS[dtype])
    y = b.rescale_codes(x, multiplier, shift, -30_000, 32_767)
    drawn = codes(ENDS[dtype])
    expected = [rescale.apply(int(v), multiplier, shift, -30_000, 32_767) for v in drawn]
    assert Executor(finish(b, x, y)).run({"x": drawn})["y"].tolist() == expected


def test_affine() -> None:
    b, x = source(1 << 40)
    second = codes(32767)
    y = b.affine(x, -3, b.constant(second), 1 << 20, 77)
    drawn = codes(1 << 40)
    assert np.array_equal(Executor(finish(b, x, y)).run({"x": drawn})["y"], -3 * drawn + (second << 20) + 77)


def test_lookup() -> None:
    b, x = source(32767)
    y = b.lookup(x, "tanh")
    drawn = codes(32767)
    table = b.constants[b.table("tanh")[0]]
    assert np.array_equal(Executor(finish(b, x, y)).run({"x": drawn})["y"], table[drawn + 32768])


@pytest.mark.parametrize("bias_axis", [None, 0, 2])
def test_a_product_rescaled_from_its_accumulator(bias_axis: int | None) -> None:
    """Fused: float64 sums plus bias straight into the rescale, the bias along the last axis or another one."""
    loops, terms = (50, 40, 30), 64
    b, x = source(32767, loops[0] * loops[1] * terms)
    weights = np.random.default_rng(1).integers(-32767, 32768, (loops[2], terms))
    w = b.constant(weights)
    bias = None
    added = np.zeros((1, 1, 1), dtype=np.int64)
    if bias_axis is not None:
        added = np.random.default_rng(2).integers(-(1 << 35), 1 << 35, loops[bias_axis])
        view = View(0, tuple(int(k == bias_axis) for k in range(3)))
        bias = (b.constant(added), view)
        added = added.reshape([-1 if k == bias_axis else 1 for k in range(3)])
    views = View(0, (loops[1] * terms, terms, 0, 1)), View(0, (0, 0, terms, 1))
    y = b.rescale_codes(b.dot(loops, (terms,), (x, views[0]), (w, views[1]), bias), 5, 32, 0, 32767)
    drawn = codes(32767, loops[0] * loops[1] * terms)
    sums = drawn.reshape(-1, terms) @ weights.T
    expected = np.clip((sums.reshape(loops) + added) * 5 + (1 << 31) >> 32, 0, 32767)
    executor = Executor(finish(b, x, y))
    assert executor._fused, "the product was not fused"
    assert np.array_equal(executor.run({"x": drawn})["y"], expected)
    assert np.array_equal(executor.run_all({"x": drawn})[-1], expected)


def test_blocks_cover_everything_once() -> None:
    assert SIZE > KERNEL_ELEMENTS
    for count in (0, 1, 2, threads.BLOCKS, threads.BLOCKS + 1, 1000):
        seen = np.zeros(count, dtype=int)

        def visit(block: slice, seen: np.ndarray = seen) -> None:
            seen[block] += 1

        threads.over_blocks(count, visit)
        assert (seen == 1).all()


def test_a_failing_block_is_not_lost() -> None:
    def fail(_: slice) -> None:
        raise ArithmeticError("in a thread")

    with pytest.raises(ArithmeticError, match="in a thread"):
        threads.over_blocks(10, fail)
    with pytest.raises(ArithmeticError, match="in a thread"):
        threads.run_all([lambda: fail(slice(0, 1))])
