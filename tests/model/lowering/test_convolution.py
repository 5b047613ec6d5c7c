"""Conv and ConvTranspose against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from single_node import lower_and_run

from vml.errors import UnsupportedOperator

BOUND = 3e-4
RNG = np.random.default_rng(3)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 3, 6, 5), (4, 3, 3, 3), {}),
    ((1, 3, 6, 5), (4, 3, 3, 2), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ((2, 4, 6, 5), (6, 2, 3, 2), {"group": 2, "dilations": [2, 1]}),
    ((1, 4, 6, 5), (4, 1, 3, 2), {"group": 4, "auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ((1, 2, 6, 5), (4, 1, 3, 3), {"group": 2, "auto_pad": "SAME_UPPER"}),
    ((1, 4, 6, 5), (4, 4, 3, 3), {"auto_pad": "VALID", "kernel_shape": [3, 3]}),
    ((1, 4, 6, 5), (3, 4, 1, 1), {"strides": [2, 2]}),
    ((1, 4, 9), (2, 4, 3), {"pads": [2, 0], "dilations": [3]}),
    ((1, 2, 4, 4, 3), (3, 2, 2, 2, 2), {"pads": [0, 1, 0, 0, 0, 1]}),
]


@pytest.mark.parametrize(("shape", "kernel", "attributes"), CONVOLUTIONS)
@pytest.mark.parametrize("bias", ["none", "constant", "computed"])
def test_conv(shape: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any], bias: str) -> None:
    parameters = {"w": floats(*kernel)} | ({} if bias == "none" else {"c": floats(kernel[0])})
    node = helper.make_node("Conv", ["x", *parameters], ["y"], **attributes)
    inputs = {"x": floats(*shape)}
    if bias == "computed":
        result = lower_and_run(node, inputs | parameters)
    else:
        result = lower_and_run(node, inputs, parameters)
    assert result.error() < BOUND


def test_storage_is_channels_last_and_a_second_convolution_reads_it_without_a_copy() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["t"]),
        helper.make_node("Conv", ["t", "w"], ["y"], strides=[2, 2]),
    ]
    result = lower_and_run(nodes, {"x": floats(1, 3, 6, 6)}, {"v": floats(4, 3, 1, 1), "w": floats(5, 4, 2, 2)})
    graph = result.lowered.graph
    assert [n.header.shape for n in graph.nodes if n.primitive == "dot"] == [(1, 6, 6, 4), (1, 3, 3, 5)]
    assert result.primitives().count("gather") == 1  # the output, in ONNX order
    assert result.error() < BOUND


TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 4, 3, 3), (4, 3, 3, 3), {}),
    ((1, 4, 3, 3), (4, 3, 3, 3), {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 2]}),
    ((2, 4, 3, 2), (4, 3, 3, 2), {"group": 2, "dilations": [2, 1]}),
    ((1, 4, 3, 3), (4, 1, 2, 2), {"group": 4, "strides": [2, 2]}),
    ((1, 1, 3, 3), (1, 2, 3, 3), {"strides": [3, 2], "output_shape": [10, 8]}),
    ((1, 1, 3, 3), (1, 2, 3, 3), {"strides": [3, 2], "output_shape": [8, 6]}),
    ((1, 1, 3, 3), (1, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 1, 3, 3), (1, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ((1, 2, 3, 3), (2, 2, 2, 2), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ((1, 1, 3, 4), (1, 2, 1, 2), {"strides": [3, 2], "dilations": [1, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 3, 4), (3, 2, 3), {"strides": [2]}),
    ((1, 1, 2, 2, 3), (1, 2, 2, 2, 2), {"strides": [1, 2, 1]}),
]


@pytest.mark.parametrize(("shape", "kernel", "attributes"), TRANSPOSED)
@pytest.mark.parametrize("constant", [True, False])
def test_conv_transpose(
    shape: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any], constant: bool
) -> None:
    parameters = {"w": floats(*kernel), "c": floats(kernel[1] * attributes.get("group", 1))}
    node = helper.make_node("ConvTranspose", ["x", *parameters], ["y"], **attributes)
    inputs = {"x": floats(*shape)}
    result = lower_and_run(node, inputs, parameters) if constant else lower_and_run(node, inputs | parameters)
    assert result.error() < BOUND


def test_automatic_padding_that_runtimes_disagree_about_is_refused() -> None:
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_padding=[1, 1], auto_pad="SAME_UPPER"
    )
    with pytest.raises(UnsupportedOperator, match="write the pads out"):
        lower_and_run(node, {"x": floats(1, 1, 4, 4)}, {"w": floats(1, 1, 2, 2)}, evaluated=False)


def test_negative_pads_are_refused() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[-1, 0, 0, 0], kernel_shape=[2, 2])
    with pytest.raises(UnsupportedOperator, match="negative pads"):
        lower_and_run(node, {"x": floats(1, 1, 4, 4)}, {"w": floats(1, 1, 2, 2)}, evaluated=False)
