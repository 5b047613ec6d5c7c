"""Activations against onnxruntime, within bounds fixed beforehand relative to the output's largest value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.model.lowering.exact import moved, refused
from tests.model.lowering.single_node import Result, lower_and_run

BOUNDS = {
    "Relu": 1e-4,
    "Sigmoid": 3e-4,
    "Tanh": 5e-4,
    "Erf": 6e-4,
    "Softplus": 3e-4,
    "Exp": 5e-4,
    "Sin": 3e-4,
    "Cos": 3e-4,
    "HardSigmoid": 1e-4,
    "LeakyRelu": 1e-4,
    "Elu": 4e-4,
    "Celu": 4e-4,
    "Selu": 5e-4,
    "Softsign": 1e-4,
}
"""Half a step of the table's argument (2.5e-4) times the steepest slope, and a code of 16 bits."""


def draw(*shape: int, reach: float = 4.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-reach, reach, shape).astype(np.float32)


def one(op: str, x: np.ndarray, opset: int = 17, **attributes: Any) -> Result:
    return lower_and_run(helper.make_node(op, ["x"], ["y"], **attributes), {"x": x}, opset=opset)


@pytest.mark.parametrize("op", BOUNDS)
@pytest.mark.parametrize("reach", [0.1, 1.0, 4.0, 30.0])
def test_unary(op: str, reach: float) -> None:
    result = one(op, draw(6, 20, reach=reach))
    bound = BOUNDS[op] / min(1.0, float(np.abs(result.expected["y"]).max()))
    assert result.error() < bound + (reach / 2**15 if op in ("Sin", "Cos", "Exp", "Softsign") else 0)


@pytest.mark.parametrize("op", ["HardSwish", "Softplus", "Relu", "Tanh"])
def test_of_a_wide_operand(op: str) -> None:
    """Behind a product the operand has 30 bits; the function reads it without narrowing it first."""
    nodes = [helper.make_node("Mul", ["x", "z"], ["p"]), helper.make_node(op, ["p"], ["y"])]
    assert lower_and_run(nodes, {"x": draw(50), "z": draw(50, seed=1)}).error() < 5e-4


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("reach", [0.5, 3.0, 60.0])
def test_gelu(approximate: str, reach: float) -> None:
    assert one("Gelu", draw(100, reach=reach), opset=20, approximate=approximate).error() < 5e-4


def test_relu_is_one_rescale() -> None:
    assert one("Relu", draw(9)).primitives() == ["input", "rescale"]


def test_attributes() -> None:
    x = draw(50)
    assert one("Elu", x, alpha=0.4).error() < 4e-4
    assert one("Celu", x, alpha=2.5).error() < 4e-4
    assert one("Selu", x, alpha=1.1, gamma=2.0).error() < 4e-4
    assert one("ThresholdedRelu", x, alpha=0.5).error() < 1e-4
    assert one("Mish", x, opset=18).error() < 5e-4
    assert one("LeakyRelu", x, alpha=0.3).error() < 1e-4
    assert one("LeakyRelu", x, alpha=-1.5).error() < 1e-4
    assert one("HardSigmoid", x, alpha=0.5, beta=0.6).error() < 1e-4
    assert one("HardSigmoid", x, alpha=-0.5, beta=0.1).error() < 1e-4


def test_prelu_constant_and_computed_slopes() -> None:
    node = helper.make_node("PRelu", ["x", "s"], ["y"])
    x, slope = draw(2, 3, 4), draw(3, 1, reach=0.5, seed=1)
    assert lower_and_run(node, {"x": x}, {"s": slope}).error() < 1e-4
    assert lower_and_run(node, {"x": x, "s": slope}).error() < 1e-4


@pytest.mark.parametrize("opset", [7, 11, 13])
def test_clip_bounds(opset: int) -> None:
    x = draw(60)
    for lo, hi in ((-1.0, 2.0), (0.0, 6.0), (None, 0.5), (-0.25, None), (None, None), (1.0, 2.0)):
        given = {"lo": lo, "hi": hi}
        if opset < 11:
            names = {"lo": "min", "hi": "max"}
            result = one("Clip", x, opset, **{names[k]: v for k, v in given.items() if v is not None})
        else:
            constants = {k: np.array(v, np.float32) for k, v in given.items() if v is not None}
            node = helper.make_node("Clip", ["x", *(k if v is not None else "" for k, v in given.items())], ["y"])
            result = lower_and_run(node, {"x": x}, constants, opset=opset)
        assert result.error() < 1e-4
        assert lo is None or result.got["y"].min() >= lo - 2e-4
        assert hi is None or result.got["y"].max() <= hi + 2e-4


def test_integers_are_exact() -> None:
    x = np.array([-7, -1, 0, 3, 90], np.int32)
    moved("Relu", {"x": x}, opset=14)
    moved("Clip", {"x": x}, {"lo": np.array(-3, np.int32), "hi": np.array(50, np.int32)})


def test_exp_saturates_at_its_calibrated_end_only() -> None:
    x = np.array([-30, -5, 0, 9.5], np.float32)
    assert one("Exp", x).error() < 1e-3


@pytest.mark.parametrize("reach", [1.0, 1e3, 1e-3])
def test_log_over_a_wide_range(reach: float) -> None:
    """A product of two ranges over three decades each: six decades of 30-bit codes."""
    a = np.geomspace(1e-2, 1, 50).astype(np.float32)
    nodes = [helper.make_node("Mul", ["a", "b"], ["p"]), helper.make_node("Log", ["p"], ["y"])]
    result = lower_and_run(nodes, {"a": a, "b": (a * reach).astype(np.float32)})
    slack = 2 * 2**-16 / a  # half a step of each factor
    assert (np.abs(result.got["y"] - result.expected["y"]) < 1e-3 + slack).all()


def test_sine_of_many_turns() -> None:
    x = np.linspace(-100, 100, 200).astype(np.float32)
    for op in ("Sin", "Cos"):
        assert np.abs(one(op, x).got["y"] - one(op, x).expected["y"]).max() < 2e-4 + 100 * 2**-16


def test_refusals() -> None:
    x = draw(3)
    refused("bound must be a constant", "Clip", {"x": x, "lo": np.zeros((), np.float32)})
    refused("must be positive", "Celu", {"x": x}, alpha=-1.0)
    refused("approximate", "Gelu", {"x": x}, opset=20, approximate="sigmoid")
