"""Arithmetic against onnxruntime: integers exactly, floats within a bound relative to the output's largest value."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from onnx import helper

from tests.model.lowering.exact import ints, moved, refused
from tests.model.lowering.single_node import lower_and_run
from vml.model.lowering.functions import rational_root

NARROW = 1e-4
"""Bound for one operation on operands and results of 16 bits."""


def draw(*shape: int, lo: float = -3.0, hi: float = 3.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(lo, hi, shape).astype(np.float32)


def error(op: str, x: dict[str, np.ndarray], constants: dict[str, np.ndarray] | None = None, opset: int = 17) -> float:
    """Error of one node whose inputs are x, then the constants; a name starting with "_" swaps that order."""
    names = [*x, *(constants or {})]
    if constants and next(iter(constants)).startswith("_"):
        names = [*constants, *x]
    return lower_and_run(helper.make_node(op, names, ["y"]), x, constants, opset=opset).error()


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
def test_two_floats_of_different_ranges(op: str) -> None:
    x, y = draw(4, 5, lo=-100, hi=100), draw(4, 1, lo=0.5, hi=2.0, seed=1)
    assert error(op, {"a": x, "b": y}) < NARROW
    assert error(op, {"b": y, "a": x}) < (2e-2 if op == "Div" else NARROW)  # 1 / a reaches far beyond its narrow a


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
def test_float_and_constant(op: str) -> None:
    x, c = draw(4, 5, lo=0.3, hi=9), draw(5, lo=-2, hi=-0.01, seed=1)
    assert error(op, {"a": x}, {"c": c}) < NARROW
    assert error(op, {"a": x}, {"_c": c}) < 2 * NARROW
    assert error(op, {"a": x}, {"c": np.array(-0.7, np.float32)}) < NARROW
    assert error(op, {"a": x}, {"_c": np.array([[[0.7]]], np.float32)}) < 2 * NARROW


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers_are_exact(op: str, dtype: type) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-1000, 1000, (5, 6)).astype(dtype)
    y = rng.integers(1, 40, (6,)).astype(dtype) * rng.choice([-1, 1], 6).astype(dtype)
    moved(op, {"a": x, "b": y})
    moved(op, {"a": x}, {"c": y})


def test_integer_division_truncates() -> None:
    x = np.array([7, -7, 7, -7, 6, -6, 0], np.int32)
    result = moved("Div", {"a": x, "b": np.array([2, 2, -2, -2, 3, -3, 5], np.int32)})
    assert result.got["y0"].tolist() == [3, -3, -3, 3, 2, 2, 0]
    unsigned = moved("Div", {"a": np.array([7, 200], np.uint8), "b": np.array([2, 3], np.uint8)})
    assert unsigned.lowered.graph.outputs[0].header.lo >= 0


def test_scalar_factor_is_free() -> None:
    result = lower_and_run(
        helper.make_node("Mul", ["x", "c"], ["y"]), {"x": draw(7)}, {"c": np.array(0.37, np.float32)}
    )
    assert result.primitives() == ["input"]


@pytest.mark.parametrize("back", ["Mul", "Div"])
def test_constant_of_widely_different_magnitudes(back: str) -> None:
    """Columns six decades apart and back: 31 bits of a column 1e-6 of the largest are 2^-11 of itself."""
    c = np.array([1e-3, 1, 20, 1000], np.float32)
    nodes = [helper.make_node("Mul", ["x", "c"], ["p"]), helper.make_node(back, ["p", "d"], ["y"])]
    constants = {"c": c, "d": c if back == "Div" else (1 / c).astype(np.float32)}
    assert lower_and_run(nodes, {"x": draw(64, 4)}, constants).error() < 1e-3


def test_sum_min_max_of_several() -> None:
    x, y, z = draw(3, 4), draw(4, seed=1) * 30, draw(1, 1, seed=2)
    for op in ("Sum", "Min", "Max"):
        assert error(op, {"a": x, "b": y}, {"c": z}) < NARROW
        assert error(op, {"a": x}) < NARROW


def test_sum_with_a_constant_of_very_different_elements() -> None:
    """The large ones come out right, and the small ones stay as precise as they were."""
    x, c = draw(8, 6, lo=-1, hi=1), np.array([-5000, 1e6, 0.25, -3e5, 0, 100], np.float32)
    result = lower_and_run(
        [
            helper.make_node("Add", ["x", "c"], ["s"]),
            helper.make_node("Mul", ["s", "k"], ["y"]),
        ],
        {"x": x},
        {"c": c, "k": np.array([1e-4, 1e-6, 1, 1e-6, 1, 1e-2], np.float32)},
    )
    assert result.error() < 5e-4  # the product keeps 31 bits of 1e6


def test_neutral_infinity_is_ignored() -> None:
    x = draw(3, 4)
    assert error("Max", {"x": x}, {"_c": np.array(-np.inf, np.float32)}) < NARROW
    assert error("Min", {"x": x}, {"c": np.full((2, 1, 4), np.inf, np.float32)}) < NARROW


@pytest.mark.parametrize("op", ["Abs", "Neg", "Sign"])
def test_exact_unary(op: str) -> None:
    moved(op, {"x": np.array([-5, 0, 7, 127, -126], np.int32)})
    moved(op, {"x": np.array([-5, 0, 7, 127, -126], np.float32)})


def test_roots_and_reciprocals_keep_relative_precision() -> None:
    x = np.geomspace(1e-2, 1, 40).astype(np.float32)
    for op in ("Sqrt", "Reciprocal"):
        result = lower_and_run(helper.make_node(op, ["x"], ["y"]), {"x": x})
        relative = np.abs(result.got["y"] / result.expected["y"] - 1)
        assert relative.max() < 5e-3  # the input's own step is 1.5e-5 / 1e-2
    assert error("Reciprocal", {"x": np.array([-4, -1, 2, 0.5], np.float32)}) < 2 * NARROW


def test_wide_variance_chain() -> None:
    """E[x^2] - E[x]^2, its root and reciprocal, over rows whose deviations differ a hundredfold."""
    x = draw(6, 32, lo=-1, hi=1) * np.array([[0.01], [0.03], [0.1], [0.3], [1], [1]], np.float32) + np.float32(0.2)
    constants = {"zero": np.zeros((), np.float32), "eps": np.array(1e-6, np.float32)}
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1]),
        helper.make_node("Mul", ["x", "x"], ["xx"]),
        helper.make_node("ReduceMean", ["xx"], ["second"], axes=[1]),
        helper.make_node("Mul", ["mean", "mean"], ["mm"]),
        helper.make_node("Sub", ["second", "mm"], ["v"]),
        helper.make_node("Max", ["v", "zero"], ["v0"]),
        helper.make_node("Add", ["v0", "eps"], ["ve"]),
        helper.make_node("Sqrt", ["ve"], ["s"]),
        helper.make_node("Sub", ["x", "mean"], ["d"]),
        helper.make_node("Div", ["d", "s"], ["y"]),
    ]
    result = lower_and_run(nodes, {"x": x}, constants)
    np.testing.assert_allclose(result.got["y"][1:], result.expected["y"][1:], atol=0.05)


def test_layer_normalisation_of_plain_operators() -> None:
    """As PyTorch exports it; the deviation of a row is inverted once, not once an element."""
    constants = {"two": np.array(2, np.float32), "eps": np.array(1e-5, np.float32)}
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1]),
        helper.make_node("Sub", ["x", "mean"], ["d"]),
        helper.make_node("Pow", ["d", "two"], ["dd"]),
        helper.make_node("ReduceMean", ["dd"], ["v"], axes=[1]),
        helper.make_node("Add", ["v", "eps"], ["ve"]),
        helper.make_node("Sqrt", ["ve"], ["s"]),
        helper.make_node("Div", ["d", "s"], ["y"]),
    ]
    result = lower_and_run(nodes, {"x": draw(6, 32) * np.geomspace(1, 30, 6, dtype=np.float32)[:, None]}, constants)
    assert result.error() < 1.5e-3
    divides = [node.header.size for node in result.lowered.graph.nodes if node.primitive == "divide"]
    assert divides == [6]


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 5.0, 8.0, 0.0, -1.0, -2.0, 0.5, -0.5, 1.7, -0.3])
def test_constant_power(exponent: float) -> None:
    x = draw(30, lo=0.5, hi=2.0)
    assert error("Pow", {"x": x}, {"c": np.array(exponent, np.float32)}) < 1e-3


def test_whole_powers_of_negative_bases() -> None:
    x = draw(30)
    for exponent in (2, 3, -1, -3):
        assert error("Pow", {"x": x + np.sign(x)}, {"c": np.array(exponent, np.int64)}) < 2e-3
    moved("Pow", {"x": np.array([-3, 2, 5], np.int32)}, {"c": np.array([2, 3, 1], np.int32)})


def test_powers_by_element_and_of_a_constant_base() -> None:
    x = draw(4, 3, lo=0.5, hi=2.0)
    assert error("Pow", {"x": x}, {"c": np.array([2, 0.5, -1], np.float32)}) < 1e-3
    assert error("Pow", {"x": x}, {"c": draw(4, 3, seed=3)}) < 2e-3
    assert error("Pow", {"x": x}, {"_c": np.array([2.5], np.float32)}) < 1e-3


def test_refusals() -> None:
    x = draw(3)
    refused("zero", "Div", {"x": x}, {"c": np.array([1, 0, 2], np.float32)})
    refused("exponent must be a constant", "Pow", {"x": x, "y": x})
    refused("may be negative", "Pow", {"x": x}, {"c": np.array(11, np.float32)})
    refused("integers to the power", "Pow", {"x": ints(1, 2)}, {"c": ints(-1)})


def test_residual_chain_of_different_scales_never_overflows() -> None:
    """Wide sums feed wide sums: forty residual branches whose scales share no factor."""
    nodes, name, constants = [], "x", {}
    for k in range(40):
        constants[f"c{k}"] = (draw(5, lo=0.01, hi=0.3, seed=k) * np.float32(1 + k / 7)).astype(np.float32)
        nodes += [
            helper.make_node("Mul", [name, f"c{k}"], [f"p{k}"]),
            helper.make_node("Add", [name, f"p{k}"], [f"s{k}"]),
            helper.make_node("Tanh", [f"s{k}"], [f"t{k}"]),
            helper.make_node("Add", [f"s{k}", f"t{k}"], [f"n{k}"]),
        ]
        name = f"n{k}"
    nodes.append(helper.make_node("Identity", [name], ["y"]))
    assert lower_and_run(nodes, {"x": draw(3, 5)}, constants).error() < 1e-2


@pytest.mark.parametrize("square", [Fraction(4, 9), Fraction(2), Fraction(1 << 90, 3), Fraction(5, 1 << 200)])
def test_rational_root(square: Fraction) -> None:
    root = rational_root(square)
    assert root * root <= square
    assert (root * (1 + Fraction(1, 1 << 50))) ** 2 > square
