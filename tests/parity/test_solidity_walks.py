"""What a walk really costs a contract, against its bound: loops of one, many small ones, strides of zero, any loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tests.parity.onestep_world import NONE, Steps, extremes, reader, single
from vml.model.codec import View
from vml.model.onestep import MAX_TERMS, StepProver, step_bound, step_value

WALKS = ("dot", "reduce_sum", "reduce_max")
MAX_LOOPS = 255
"""Of one node in a descriptor."""


@pytest.fixture(scope="module")
def steps(deploy: Callable[[str], Any]) -> Steps:
    return Steps(deploy("Steps.sol:Steps"))


def check(steps: Steps, primitive: str, loops: Sequence[int], strides: Sequence[int], x: np.ndarray) -> float:
    """The right value within the bound; of a `dot`, both operands are walked alike.

    Returns:
        The real gas as a part of the bound's.
    """
    lowest = sum(min(0, s * (n - 1)) for s, n in zip(strides, loops, strict=True))
    view = View(-lowest, tuple(strides))
    if primitive == "dot":
        operands = [x, x[::-1].copy()]
        attributes = {"contract": tuple(loops), "a": view, "b": view, "bias": NONE}
    else:
        operands, attributes = [x], {"reduced": tuple(loops), "x": view}
    graph, node = single(primitive, attributes, (), operands), len(operands)
    bound = step_bound(graph, node)
    assert steps.value(*StepProver(graph, operands).prove(node, 0)) == step_value(graph, node, 0, reader(operands))
    assert steps.calldata_bytes <= bound.calldata_bytes, (primitive, loops, strides)
    assert steps.gas <= bound.gas, (primitive, loops, strides)
    assert steps.transaction_gas <= bound.transaction_gas
    return steps.gas / bound.gas


def tensor(size: int, dtype: str = "int8") -> np.ndarray:
    return extremes(np.random.default_rng(size), dtype, (size,))


# ---- loops that cost more than their terms


@pytest.mark.parametrize("primitive", WALKS)
@pytest.mark.parametrize(("n", "ones"), [(1, 8), (1, 250), (1024, 1), (1024, 60), (3000, 60), (8192, 254)])
def test_loops_of_one_step_cost_their_descriptor(steps: Steps, primitive: str, n: int, ones: int) -> None:
    """Wherever they stand, and whatever their strides."""
    x, far = tensor(n), (1 << 62, -(1 << 62), 0, 1)
    around = [far[k % 4] for k in range(ones)]
    check(steps, primitive, (n, *[1] * ones), (1, *around), x)
    check(steps, primitive, (*[1] * ones, n), (*around, 1), x)
    half = ones // 2
    check(steps, primitive, (*[1] * half, n, *[1] * (ones - half)), (*around[:half], 1, *around[half:]), x)


@pytest.mark.parametrize("primitive", WALKS)
@pytest.mark.parametrize(
    "loops",
    [(2,) * 12, (2,) * 13, (3,) * 8, (2, 1) * 12, (90, 90), (4096, 2), (2730, 3), (2, 2, 2048), (5, 1, 3, 512, 1)],
)
def test_many_small_loops(steps: Steps, primitive: str, loops: tuple[int, ...]) -> None:
    check(steps, primitive, loops, [0] * len(loops), tensor(4))
    row_major = [int(np.prod(loops[k + 1 :])) for k in range(len(loops))]
    for dtype in ("int8", "int64"):
        check(steps, primitive, loops, row_major, tensor(int(np.prod(loops)), dtype))
    check(steps, primitive, loops, [-s for s in row_major], tensor(int(np.prod(loops))))


@pytest.mark.parametrize("primitive", WALKS)
@pytest.mark.parametrize("leaves", [2, 31, 59, 80])
@pytest.mark.parametrize("inner", [2, 3, 5])
def test_every_short_row_in_another_leaf(steps: Steps, primitive: str, leaves: int, inner: int) -> None:
    """Each row carries, and looks its leaf up among many."""
    x, around = tensor(1024 * leaves), (2,) * int(np.log2(MAX_TERMS / leaves / inner))
    check(steps, primitive, (*around, leaves, inner), (*[0] * len(around), 1024, 0), x)
    check(steps, primitive, (leaves, *around, inner), (1024, *[0] * len(around), 1), x)


# ---- any loops


def drawn_walk(rng: np.random.Generator, size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Loops, many of them of one step or small, and strides of any sign that stay inside so many elements."""
    kinds = [[1, 1, 2, 3], [2], [2, 3], [1, 1, 1, 1, 2], [1, 2, 3, 7, 30], [1, 5, 100, 3000]]
    loops, choices = list[int](), kinds[int(rng.integers(len(kinds)))]
    terms, limit = 1, int(rng.choice([30, 2048, MAX_TERMS]))
    for _ in range(int(rng.choice([3, 12, 60, MAX_LOOPS]))):
        n = int(rng.choice(choices))
        if terms * n <= limit:
            terms *= n
            loops.append(n)
    rng.shuffle(loops)
    strides, room = [0] * len(loops), size - 1
    for k in rng.permutation(len(loops)).tolist():
        reach = room // (loops[k] - 1) if loops[k] > 1 else 1 << 62
        stride = int(rng.choice([0, min(1, reach), min(37, reach), min(700, reach), reach]))
        room -= stride * (loops[k] - 1) if loops[k] > 1 else 0
        strides[k] = -stride if rng.random() < 0.3 else stride
    return tuple(loops), tuple(strides)


def check_drawn(steps: Steps, seed: int, cases: int) -> None:
    rng = np.random.default_rng(seed)
    for case in range(cases):
        x = tensor(int(rng.choice([1, 4, 5000, 60_000])), str(rng.choice(["int8", "int16", "int64"])))
        check(steps, WALKS[case % 3], *drawn_walk(rng, x.size), x)


def test_any_walk(steps: Steps) -> None:
    check_drawn(steps, 0, 90)


@pytest.mark.slow
def test_any_walk_at_length(steps: Steps) -> None:
    check_drawn(steps, 1, 3_000)
