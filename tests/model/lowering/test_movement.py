"""Data movement is exact: the outputs are the same numbers, moved as onnxruntime moves them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from tests.model.lowering.exact import ints, moved, refused, whole
from tests.model.lowering.single_node import lower_and_run

X = whole(2, 3, 4)


@pytest.mark.parametrize("shape", [(4, 6), (2, -1), (0, 12), (-1,), (0, 0, 2, 2), (1, 24, 1)])
def test_reshape(shape: tuple[int, ...]) -> None:
    moved("Reshape", {"x": X}, {"s": ints(*shape)})


def test_reshape_of_a_transposed_tensor() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[2, 0, 1]),
        helper.make_node("Reshape", ["t", "s"], ["y"]),
    ]
    result = lower_and_run(nodes, {"x": X}, {"s": ints(4, 6)})
    np.testing.assert_array_equal(result.got["y"], result.expected["y"])


@pytest.mark.parametrize("axis", [-3, -1, 0, 1, 2, 3])
def test_flatten(axis: int) -> None:
    moved("Flatten", {"x": X}, axis=axis)


def test_transpose() -> None:
    moved("Transpose", {"x": X})
    moved("Transpose", {"x": X}, perm=[1, 0, 2])


def test_squeeze_and_unsqueeze_by_attribute_and_by_input() -> None:
    x = whole(1, 3, 1, 2)
    moved("Squeeze", {"x": x})
    moved("Squeeze", {"x": x}, {"a": ints(-2)})
    moved("Squeeze", {"x": x}, axes=[0, 2], opset=11)
    moved("Unsqueeze", {"x": X}, {"a": ints(0, -1)})
    moved("Unsqueeze", {"x": X}, axes=[2, 0], opset=11)


def test_expand() -> None:
    moved("Expand", {"x": whole(3, 1)}, {"s": ints(2, 1, 6)})
    moved("Expand", {"x": whole(3, 1)}, {"s": ints(1)})


def test_concat_of_values_and_constants() -> None:
    moved("Concat", {"x": whole(2, 3), "z": whole(2, 5, seed=1)}, {"c": whole(2, 1)}, axis=1)
    moved("Concat", {"x": whole(2, 3), "z": whole(1, 3, seed=1)}, axis=-2)
    moved("Concat", {"x": X.astype(np.int64), "z": X.astype(np.int64)}, axis=0)


def test_concat_of_different_scales_keeps_half_a_code() -> None:
    x, z = whole(2, 3), whole(2, 3, seed=1) / 50
    result = lower_and_run(helper.make_node("Concat", ["x", "z"], ["y"], axis=0), {"x": x, "z": z})
    assert result.error() <= 2**-14


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([0, 1], [2, 1000], [0, 2], [1, 2]),
        ([-1], [-1000], [2], [-1]),
        ([3], [0], [-1], [-2]),
        ([-1], [-(2**63)], [1], [-1]),
        ([-3], [-1], [2], [1]),
    ],
)
def test_slice(starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> None:
    constants = {"starts": ints(*starts), "ends": ints(*ends), "axes": ints(*axes), "steps": ints(*steps)}
    moved("Slice", {"x": X}, constants)


def test_slice_with_defaults_and_attributes() -> None:
    moved("Slice", {"x": X}, {"starts": ints(0, 1), "ends": ints(1, 3)})
    moved("Slice", {"x": X}, opset=9, starts=[1, 0], ends=[3, -1], axes=[1, 2])


def test_split() -> None:
    x = whole(2, 7)
    moved("Split", {"x": whole(2, 6)}, outputs=3, axis=1)
    moved("Split", {"x": x}, {"s": ints(2, 5)}, outputs=2, axis=-1)
    moved("Split", {"x": x}, outputs=2, opset=11, axis=1, split=[3, 4])
    moved("Split", {"x": x}, outputs=3, opset=18, axis=1, num_outputs=3)


def test_identity_and_dropout() -> None:
    moved("Identity", {"x": X})
    moved("Dropout", {"x": X})
    node = helper.make_node("Dropout", ["x"], ["y", "mask"])
    result = lower_and_run(node, {"x": X}, outputs=("y", "mask"))
    assert result.got["mask"].all()


def test_shape_and_constant_of_shape_fold() -> None:
    shape = helper.make_node("Shape", ["x"], ["y"], start=1)
    result = lower_and_run(shape, {"x": X})
    np.testing.assert_array_equal(result.got["y"], [3, 4])
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["c"], value=helper.make_tensor("v", 1, [1], [3.0])),
        helper.make_node("Concat", ["x", "c"], ["y"], axis=0),
    ]
    result = lower_and_run(nodes, {"x": X})
    np.testing.assert_array_equal(result.got["y"], result.expected["y"])


def test_refusals_say_what_to_do() -> None:
    refused("must be a constant", "Reshape", {"x": X, "s": ints(2, 12)})
    refused("must be a constant", "Expand", {"x": X, "s": ints(2, 3, 4)})
    refused("no elements", "Reshape", {"x": X}, {"s": ints(0, 24)}, allowzero=1)
    refused("no elements", "Slice", {"x": X}, {"starts": ints(1), "ends": ints(1)})
    refused("every part needs an element", "Split", {"x": X}, {"s": ints(2, 0)}, outputs=2)
    refused("training_mode", "Dropout", {"x": X}, {"_": X, "t": np.array(True)})
    refused("must be a constant", "ConstantOfShape", {"x": ints(2)})
