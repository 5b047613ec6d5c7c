"""Random chains of data movement: views of views, copies of views, and every layout they leave behind."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.model.lowering.exact import whole
from tests.model.lowering.single_node import lower_and_run

LENGTH = 7
MAX_ELEMENTS = 600


class Chain:
    """Nodes that follow one another; ``shape`` is that of the latest result."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self.rng, self.shape, self.name = rng, shape, "x"
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, values: object, dtype: type = np.int64) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.array(values, dtype=dtype)
        return name

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: object) -> None:
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.name, *inputs], [out], **attributes))
        self.name, self.shape = out, shape

    def axis(self) -> int:
        return int(self.rng.integers(len(self.shape)))

    def resized(self, axis: int, size: int) -> tuple[int, ...]:
        return tuple(size if k == axis else n for k, n in enumerate(self.shape))

    def transpose(self) -> None:
        order = [int(k) for k in self.rng.permutation(len(self.shape))]
        self.add("Transpose", [], tuple(self.shape[k] for k in order), perm=order)

    def reshape(self) -> None:
        left, shape = math.prod(self.shape), []
        while left > 1 and len(shape) < 4:
            factor = int(self.rng.choice([d for d in range(2, left + 1) if left % d == 0]))
            shape.append(factor)
            left //= factor
        shape = [*shape, left] if left > 1 or not shape else shape
        self.add("Reshape", [self.constant(shape)], tuple(shape))

    def slice(self) -> None:
        axis = self.axis()
        step = int(self.rng.choice([-2, -1, 1, 2]))
        start, end = (-1, -(2**62)) if step < 0 else (int(self.rng.integers(self.shape[axis])), 2**62)
        chosen = range(*slice(start, end, step).indices(self.shape[axis]))
        parameters = [self.constant([v]) for v in (start, end, axis, step)]
        self.add("Slice", parameters, self.resized(axis, len(chosen)))

    def gather(self) -> None:
        axis = self.axis()
        index = self.rng.integers(-self.shape[axis], self.shape[axis], (2, 2))
        shape = (*self.shape[:axis], 2, 2, *self.shape[axis + 1 :])
        self.add("Gather", [self.constant(index)], shape, axis=axis)

    def pad(self) -> None:
        rank = len(self.shape)
        pads = self.rng.integers(0, 2, 2 * rank)
        mode = str(self.rng.choice(["constant", "edge"]))
        shape = tuple(int(n + pads[k] + pads[rank + k]) for k, n in enumerate(self.shape))
        self.add("Pad", [self.constant(pads)], shape, mode=mode)

    def tile(self) -> None:
        axis = self.axis()
        repeats = [2 if k == axis else 1 for k in range(len(self.shape))]
        self.add("Tile", [self.constant(repeats)], self.resized(axis, 2 * self.shape[axis]))

    def expand(self) -> None:
        self.add("Unsqueeze", [self.constant([0])], (1, *self.shape))
        self.add("Expand", [self.constant([2, *self.shape[1:]])], (2, *self.shape[1:]))

    def concat(self) -> None:
        axis = self.axis()
        other = self.constant(self.rng.integers(-100, 100, self.shape), np.float32)
        self.add("Concat", [other], self.resized(axis, 2 * self.shape[axis]), axis=axis)

    def reduce(self) -> None:
        axis = self.axis()
        self.add("ReduceMax", [self.constant([axis])], self.resized(axis, 1))

    def maximum(self) -> None:
        self.add("Max", [self.constant(self.rng.integers(-100, 100, self.shape[-1:]), np.float32)], self.shape)


STEPS = [
    Chain.transpose,
    Chain.reshape,
    Chain.slice,
    Chain.gather,
    Chain.pad,
    Chain.tile,
    Chain.expand,
    Chain.concat,
    Chain.reduce,
    Chain.maximum,
]


@pytest.mark.parametrize("seed", range(60))
def test_chain_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = whole(2, 3, 4, seed=seed)
    chain = Chain(rng, x.shape)
    while len(chain.nodes) < LENGTH:
        grown = math.prod(chain.shape) > MAX_ELEMENTS or len(chain.shape) > 5
        step = Chain.reduce if grown else STEPS[int(rng.integers(len(STEPS)))]
        if grown and len(chain.shape) > 5:
            step = Chain.reshape
        step(chain)
    result = lower_and_run(chain.nodes, {"x": x}, chain.constants, outputs=[chain.name], opset=18)
    np.testing.assert_array_equal(result.got[chain.name], result.expected[chain.name])
