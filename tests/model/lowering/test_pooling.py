"""MaxPool, AveragePool and the global ones against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from single_node import lower_and_run

from vml.errors import UnsupportedOperator

BOUND = 2e-4
RNG = np.random.default_rng(4)

WINDOWS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 2, 6, 7), {"kernel_shape": [2, 2]}),
    ((1, 2, 6, 7), {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}),
    ((1, 2, 6, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ((1, 1, 2, 2), {"kernel_shape": [1, 1], "strides": [2, 2], "ceil_mode": 1}),
    ((1, 2, 6, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    ((1, 2, 6, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 2, 6, 7), {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER"}),
    ((1, 2, 6, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"}),
    ((1, 2, 6, 7), {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    ((1, 3, 9), {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    ((1, 2, 4, 3, 5), {"kernel_shape": [2, 2, 2], "pads": [0, 1, 0, 1, 0, 0]}),
]


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("shape", "attributes"), WINDOWS)
def test_max_pool(shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
    # All negative: padding, were it 0, would win.
    x = -np.abs(floats(*shape)) - 1
    assert lower_and_run(helper.make_node("MaxPool", ["x"], ["y"], **attributes), {"x": x}, opset=22).error() < BOUND


@pytest.mark.parametrize(("shape", "attributes"), WINDOWS)
@pytest.mark.parametrize("include", [0, 1])
def test_average_pool(shape: tuple[int, ...], attributes: dict[str, Any], include: int) -> None:
    node = helper.make_node("AveragePool", ["x"], ["y"], count_include_pad=include, **attributes)
    assert lower_and_run(node, {"x": floats(*shape)}, opset=22).error() < BOUND


def test_average_pool_with_counts_without_a_small_common_multiple() -> None:
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[31, 29], pads=[15, 14, 15, 14])
    assert lower_and_run(node, {"x": floats(1, 1, 33, 31)}).error() < BOUND


def test_integer_max_pool_is_exact() -> None:
    x = RNG.integers(0, 255, size=(1, 1, 5, 5)).astype(np.uint8)
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[2, 2, 2, 2], strides=[2, 2])
    assert lower_and_run(node, {"x": x}).error() == 0


@pytest.mark.parametrize("op", ["GlobalMaxPool", "GlobalAveragePool"])
@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 3, 4, 5), (1, 2, 3, 4, 2)])
def test_global_pool(op: str, shape: tuple[int, ...]) -> None:
    assert lower_and_run(helper.make_node(op, ["x"], ["y"]), {"x": floats(*shape) - 2}).error() < BOUND


def test_indices_are_refused() -> None:
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])
    with pytest.raises(UnsupportedOperator, match="Indices"):
        lower_and_run(node, {"x": floats(1, 1, 4, 4)}, outputs=["y", "i"])


def test_a_window_wholly_in_the_padding_is_refused() -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[2, 0, 0, 0])
    with pytest.raises(UnsupportedOperator, match="wholly in the padding"):
        lower_and_run(node, {"x": floats(1, 1, 4, 4)}, evaluated=False)


@pytest.mark.parametrize("attribute", [{"dilations": [2, 2]}, {"ceil_mode": 1}])
def test_automatic_padding_that_runtimes_disagree_about_is_refused(attribute: dict[str, Any]) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], auto_pad="SAME_UPPER", **attribute)
    with pytest.raises(UnsupportedOperator, match="write the pads out"):
        lower_and_run(node, {"x": floats(1, 1, 4, 4)})
