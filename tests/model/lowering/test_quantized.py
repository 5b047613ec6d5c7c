"""QuantizeLinear and DequantizeLinear: a quantised model keeps its own integers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from single_node import lower_and_run

from vml.errors import UnsupportedOperator

RNG = np.random.default_rng(6)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def scalar(value: float, dtype: type = np.float32) -> np.ndarray:
    return np.array(value, dtype=dtype)


@pytest.mark.parametrize(("dtype", "zero"), [(np.uint8, 128), (np.int8, 0), (np.int8, -7), (np.int16, 5)])
def test_quantize_then_dequantize(dtype: type, zero: int) -> None:
    constants = {"s": scalar(0.25), "z": scalar(zero, dtype)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    # Multiples of 1/16 that are no ties: exact at the input's scale.
    x = (RNG.integers(-2000, 2000, size=(3, 5)) * 4 + 1).astype(np.float32) / 16
    result = lower_and_run(nodes, {"x": x}, constants, outputs=["q", "y"], opset=21)
    np.testing.assert_array_equal(result.got["q"], result.expected["q"])
    np.testing.assert_array_equal(result.got["y"], result.expected["y"])
    assert "lookup" not in result.primitives()


def test_ties_go_up() -> None:
    # The last one makes the input's scale 1024, at which the others are exact.
    x = np.array([0.5, 1.5, -0.5, -1.5, 32767 / 1024], dtype=np.float32)
    constants = {"s": scalar(1.0), "z": scalar(0, np.int8)}
    result = lower_and_run(helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"]), {"x": x}, constants)
    assert result.got["y"].tolist() == [1, 2, 0, -1, 32]
    assert result.expected["y"].tolist() == [0, 2, 0, -2, 32]


@pytest.mark.parametrize("block", [0, 2])
def test_scales_per_axis_and_per_block(block: int) -> None:
    shape = (2, 2, 3) if block else (3,)
    steps = RNG.uniform(0.01, 0.5, size=shape).astype(np.float32)
    zeros = RNG.integers(100, 156, size=shape).astype(np.uint8)
    attributes = {"axis": 1} | ({"block_size": block} if block else {})
    x = RNG.integers(0, 255, size=(2, 4, 3) if block else (2, 3, 4)).astype(np.uint8)
    node = helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"], **attributes)
    assert lower_and_run(node, {"x": x}, {"s": steps, "z": zeros}, opset=21).error() < 1e-4
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], **attributes)
    result = lower_and_run(node, {"x": floats(*x.shape) * 4}, {"s": steps, "z": zeros}, opset=21)
    # The input itself is rounded to 16 bits before it is quantised.
    assert np.abs(result.got["y"] - result.expected["y"].astype(np.int64)).max() <= 1


def _quantised_layer(
    op: str, weights: tuple[int, ...], axis: int, per_channel: bool, **attributes: object
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Quantised input, int8 weights, int32 bias, one layer, quantised output."""
    channels = weights[axis] * int(str(attributes.get("group", 1))) if op == "ConvTranspose" else weights[axis]
    count = (weights[axis],) if per_channel else ()
    steps = RNG.uniform(0.005, 0.02, size=count).astype(np.float32)
    bias_steps = steps * np.float32(0.025)
    constants = {
        "xs": scalar(0.025),
        "xz": scalar(3, np.int8),
        "ys": scalar(0.4),
        "yz": scalar(-5, np.int8),
        "w": RNG.integers(-128, 128, size=weights).astype(np.int8),
        "ws": steps,
        "wz": np.zeros(count, np.int8),
        "c": RNG.integers(-5000, 5000, size=channels).astype(np.int32),
        "cs": bias_steps,
        "cz": np.zeros(count, np.int32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=axis),
        helper.make_node("DequantizeLinear", ["c", "cs", "cz"], ["cd"], axis=0),
        helper.make_node(op, ["xd", "wd", "cd"], ["t"], **attributes),
        helper.make_node("QuantizeLinear", ["t", "ys", "yz"], ["y"]),
    ]
    return nodes, constants


LAYERS: list[tuple[str, tuple[int, ...], tuple[int, ...], int, dict[str, object]]] = [
    ("Conv", (1, 3, 6, 6), (6, 3, 3, 3), 0, {"pads": [1, 1, 1, 1]}),
    ("Conv", (1, 6, 5, 5), (6, 2, 2, 2), 0, {"group": 3}),
    ("Conv", (1, 6, 5, 5), (6, 1, 2, 2), 0, {"group": 6}),
    ("ConvTranspose", (1, 3, 5, 5), (3, 6, 2, 2), 1, {"strides": [2, 2]}),
    ("Gemm", (7, 5), (5, 6), 1, {}),
    ("Gemm", (7, 5), (6, 5), 0, {"transB": 1}),
]


@pytest.mark.parametrize(("op", "shape", "weights", "axis", "attributes"), LAYERS)
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_quantised_layer_gives_the_same_integers(
    op: str,
    shape: tuple[int, ...],
    weights: tuple[int, ...],
    axis: int,
    attributes: dict[str, object],
    per_channel: bool,
) -> None:
    nodes, constants = _quantised_layer(op, weights, axis, per_channel, **attributes)
    # Far from ties, which the input's own rounding to 16 bits could cross.
    x = (RNG.integers(-120, 120, size=shape) + RNG.uniform(-0.3, 0.3, size=shape)) * 0.025
    result = lower_and_run(nodes, {"x": x.astype(np.float32)}, constants, outputs=["xq", "y"])
    np.testing.assert_array_equal(result.got["xq"], result.expected["xq"])
    np.testing.assert_array_equal(result.got["y"], result.expected["y"])
    stored = [a for a in result.lowered.graph.constants.values() if a.size == constants["w"].size]
    assert any(sorted(a.ravel().tolist()) == sorted(constants["w"].ravel().tolist()) for a in stored)


def test_steps_along_another_axis_are_weights_like_any_other() -> None:
    constants = {
        "w": RNG.integers(-127, 128, size=(5, 6)).astype(np.int8),
        "s": RNG.uniform(0.1, 1, 5).astype(np.float32),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=0),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    assert lower_and_run(nodes, {"x": floats(3, 5)}, constants).error() < 3e-4


def test_constants_quantised_inside_the_graph_round_ties_to_even() -> None:
    constants = {"w": np.array([[0.5, 1.5], [2.5, -3.0]], dtype=np.float32), "s": scalar(1.0), "z": scalar(0, np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    result = lower_and_run(nodes, {"x": floats(3, 2)}, constants)
    stored = [a.tolist() for a in result.lowered.graph.constants.values()]
    assert stored == [[[0, 2], [2, -3]]]  # transposed: the contracted axis is contiguous
    assert result.error() < 3e-4


def test_a_quantised_scalar() -> None:
    constants = {"w": scalar(7, np.int8), "s": scalar(0.1), "z": scalar(3, np.int8), "v": scalar(2.0)}
    nodes = [
        helper.make_node("QuantizeLinear", ["v", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["c"]),
        helper.make_node("Mul", ["x", "a"], ["t"]),
        helper.make_node("Add", ["t", "c"], ["y"]),
    ]
    assert lower_and_run(nodes, {"x": floats(3, 2)}, constants).error() < 3e-4


def test_wide_constants_become_floats() -> None:
    constants = {"w": np.array([1 << 24, -5], dtype=np.int32), "s": scalar(1e-6)}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
        helper.make_node("Add", ["x", "d"], ["y"]),
    ]
    assert lower_and_run(nodes, {"x": floats(2)}, constants).error() < 3e-4


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan")])
def test_a_scale_must_be_positive(step: float) -> None:
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["y"])
    with pytest.raises(UnsupportedOperator, match="above 0"):
        lower_and_run(node, {"x": floats(3)}, {"s": scalar(step)}, evaluated=False)


def test_a_computed_scale_is_refused() -> None:
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["y"])
    with pytest.raises(UnsupportedOperator, match="constant"):
        lower_and_run(node, {"x": floats(3), "s": scalar(1.0)})
