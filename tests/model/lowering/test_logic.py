"""Comparisons, boolean operators, Where, Gather and Cast."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.model.lowering.exact import ints, moved, refused, whole
from tests.model.lowering.single_node import lower_and_run
from vml.errors import UnsupportedModel

X, Z = whole(3, 4), whole(4, seed=1)
SAME = X.copy()
SAME[1] = 0
COMPARISONS = ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_of_floats_are_exact(op: str) -> None:
    moved(op, {"x": X, "z": Z})
    moved(op, {"x": X, "z": SAME})
    moved(op, {"x": X, "z": Z * 32})  # another scale: compared as rationals
    moved(op, {"x": X.astype(np.int64), "z": Z.astype(np.int64)})


@pytest.mark.parametrize("op", COMPARISONS)
@pytest.mark.parametrize("value", [3.0, 0.3, -1e30, np.inf])
def test_comparisons_with_a_constant(op: str, value: float) -> None:
    constant = np.array([value], dtype=np.float32)
    moved(op, {"x": X}, {"c": constant})
    x = np.array([[value if abs(value) < 100 else 1.0, 127.0]], dtype=np.float32)
    moved(op, {"x": x}, {"c": constant})  # equal before quantising, equal after


@pytest.mark.parametrize("op", ["And", "Or", "Xor", "Equal"])
def test_booleans(op: str) -> None:
    moved(op, {"x": X > 0, "z": Z > 0})
    moved(op, {"x": X > 0}, {"c": np.array([[True], [False], [True]])})
    moved("Not", {"x": X > 0})


def test_where() -> None:
    moved("Where", {"m": X > 0, "x": X, "z": Z})
    moved("Where", {"m": X > 0, "x": X}, {"c": np.array(3, dtype=np.float32)})
    moved("Where", {"m": X > 0}, {"c": np.array(3, dtype=np.float32), "d": np.array(-5, dtype=np.float32)})
    moved("Where", {"m": X > 0, "x": X.astype(np.int64)}, {"c": ints(7)})
    node = helper.make_node("Where", ["m", "x", "z"], ["y"])
    moving = lower_and_run(node, {"x": X, "z": Z}, {"m": X > 0})
    np.testing.assert_array_equal(moving.got["y"], moving.expected["y"])


@pytest.mark.parametrize("masked", [-1e4, -1e9, -3e38, -np.inf])
def test_a_mask_costs_the_values_nothing(masked: float) -> None:
    """Attention masks: what is left after softmax is as precise as without a mask."""
    mask = np.arange(12).reshape(3, 4) % 3 > 0
    nodes = [helper.make_node("Where", ["m", "x", "c"], ["t"]), helper.make_node("Softmax", ["t"], ["y"])]
    result = lower_and_run(nodes, {"m": mask, "x": X / 64}, {"c": np.array(masked, dtype=np.float32)})
    assert result.error() < 2**-12
    assert not result.got["y"][~mask].any()


@pytest.mark.parametrize("index", [2, [0, 2], [[0, -1], [1, 1]], [2, 1, 0], [0, 2, 1]])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_with_constant_positions(index: list[int], axis: int) -> None:
    moved("Gather", {"x": X}, {"i": np.array(index, dtype=np.int64)}, axis=axis)


def test_gather_with_positions_of_the_input() -> None:
    moved("Gather", {"x": X, "i": ints(1, 0, 2)}, axis=0)
    moved("Gather", {"x": X, "i": ints(-1, 0, -4).reshape(3, 1)}, axis=1)
    node = helper.make_node("Gather", ["c", "i"], ["y"])
    embedded = lower_and_run(node, {"i": ints(0, 2)}, {"c": X})
    np.testing.assert_array_equal(embedded.got["y"], embedded.expected["y"])


def test_gather_refuses_a_constant_position_outside() -> None:
    refused("index 3 of an axis of size 3", "Gather", {"x": X}, {"i": ints(3)})


@pytest.mark.parametrize("to", ["FLOAT", "INT32", "INT64", "INT16", "BOOL"])
@pytest.mark.parametrize("dtype", ["float32", "int64", "int8", "bool"])
def test_cast(to: str, dtype: str) -> None:
    moved("Cast", {"x": X.astype(dtype)}, to=TensorProto.DataType.Value(to))


def test_cast_to_integer_drops_the_fraction() -> None:
    x = np.array([-2.5, -1.75, -1, -0.25, 0, 0.25, 1, 1.75, 2.5, 31], dtype=np.float32)
    moved("Cast", {"x": x}, to=TensorProto.INT32)


def test_cast_refuses_what_would_wrap() -> None:
    refused("may not fit INT8", "Cast", {"x": ints(500)}, to=TensorProto.INT8)
    refused("may not fit UINT8", "Cast", {"x": ints(-5)}, to=TensorProto.UINT8)
    refused("BFLOAT16", "Cast", {"x": X}, to=TensorProto.BFLOAT16)


def test_integers_that_would_wrap_are_refused() -> None:
    """uint8 3 - 5 is 254 in ONNX; exact integers have no such corner."""
    few = np.array([3, 5], dtype=np.uint8)
    with pytest.raises(UnsupportedModel, match="beyond uint8, where ONNX wraps"):
        lower_and_run(helper.make_node("Sub", ["x", "z"], ["y"]), {"x": few, "z": few[::-1].copy()})
    moved("Mod", {"x": few, "z": few[::-1].copy()})


def test_cast_of_an_awkward_scale_keeps_whole_numbers() -> None:
    """A product has a scale with a long numerator; its whole values must not fall to the next integer."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"]),
        helper.make_node("Relu", ["t"], ["r"]),
        helper.make_node("Cast", ["r"], ["y"], to=TensorProto.INT64),
    ]
    w = np.eye(4, dtype=np.float32) * 2
    result = lower_and_run(nodes, {"x": X}, {"w": w})
    assert np.abs(result.got["y"] - result.expected["y"]).max() <= 1
