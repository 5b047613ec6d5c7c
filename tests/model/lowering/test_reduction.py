"""Reductions, ArgMax/ArgMin and TopK."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from tests.model.lowering.exact import ints, moved, refused, whole
from tests.model.lowering.single_node import lower_and_run

X = whole(2, 3, 4)
TIES = np.array([[3, 1, 3, 2], [0, 0, 0, 0], [-1, -1, -2, -2]], dtype=np.float32)


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [None, [1], [0, -1]])
def test_extremes_are_exact(op: str, keepdims: int, axes: list[int] | None) -> None:
    moved(op, {"x": X}, keepdims=keepdims, **({} if axes is None else {"axes": axes}))
    moved(op, {"x": X}, {} if axes is None else {"a": ints(*axes)}, opset=18, keepdims=keepdims)
    moved(op, {"x": X.astype(np.int64)}, keepdims=keepdims, **({} if axes is None else {"axes": axes}))


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean"])
@pytest.mark.parametrize("axes", [[1], [0, 2], [-1, 0, 1]])
def test_sums_and_means(op: str, axes: list[int]) -> None:
    node = helper.make_node(op, ["x", "a"], ["y"], keepdims=0)
    assert lower_and_run(node, {"x": X}, {"a": ints(*axes)}, opset=18).error() < 2**-14
    older = helper.make_node(op, ["x"], ["y"], axes=axes)
    assert lower_and_run(older, {"x": X}, opset=12).error() < 2**-14
    moved(op, {"x": X.astype(np.int64)}, opset=12, axes=axes)


def test_empty_axes() -> None:
    moved("ReduceSum", {"x": X.astype(np.int64)}, {"a": np.zeros(0, dtype=np.int64)}, noop_with_empty_axes=1)
    moved("ReduceSum", {"x": X.astype(np.int64)}, {"a": np.zeros(0, dtype=np.int64)})
    refused("repeat an axis", "ReduceMax", {"x": X}, axes=[1, -2])


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_position_of_an_extreme(op: str, last: int, axis: int) -> None:
    for keepdims in (0, 1):
        moved(op, {"x": TIES}, axis=axis, keepdims=keepdims, select_last_index=last)
        moved(op, {"x": X}, axis=axis, keepdims=keepdims, select_last_index=last)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_topk(largest: int, axis: int) -> None:
    for x in (X, TIES):
        moved("TopK", {"x": x}, {"k": ints(2)}, outputs=2, axis=axis, largest=largest)
    moved("TopK", {"x": X}, outputs=2, opset=9, k=2, axis=axis)


def test_topk_refuses_a_k_computed_at_run_time() -> None:
    refused("must be a constant", "TopK", {"x": X, "k": ints(2)}, outputs=2)
