"""Softmax and LogSoftmax against onnxruntime, over every axis and both meanings of ``axis``."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from tests.model.lowering.single_node import Result, lower_and_run


def run(op: str, x: np.ndarray, opset: int = 17, **attributes: int) -> Result:
    return lower_and_run(helper.make_node(op, ["x"], ["y"], **attributes), {"x": x}, opset=opset)


def draw(*shape: int, reach: float = 5.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(-reach, reach, shape).astype(np.float32)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [7, 11, 13])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, None])
def test_axes(op: str, opset: int, axis: int | None) -> None:
    if opset == 7 and axis == -1:
        axis = 2
    given = {} if axis is None else {"axis": axis}
    result = run(op, draw(2, 3, 4), opset, **given)
    assert result.error() < 3e-4


@pytest.mark.parametrize("reach", [0.01, 1.0, 40.0])
def test_ranges(reach: float) -> None:
    x = draw(4, 50, reach=reach)
    softmax, logarithm = run("Softmax", x), run("LogSoftmax", x)
    assert np.abs(softmax.got["y"] - softmax.expected["y"]).max() < 3e-4 + reach / 2**15
    assert np.abs(softmax.got["y"].sum(-1) - 1).max() < 50 * 2**-16
    assert np.abs(logarithm.got["y"] - logarithm.expected["y"]).max() < 1e-3 + reach / 2**14


def test_one_class_is_certain() -> None:
    result = run("Softmax", draw(3, 1))
    assert (result.got["y"] == 1).all()
    assert np.abs(run("LogSoftmax", draw(3, 1)).got["y"]).max() < 1e-3


def test_of_wide_logits() -> None:
    """Behind a matrix product the logits have about 35 bits; they are not narrowed on the way."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["l"]), helper.make_node("Softmax", ["l"], ["y"])]
    result = lower_and_run(nodes, {"x": draw(4, 16)}, {"w": draw(16, 10, reach=1.0)})
    assert result.error() < 5e-4


@pytest.mark.parametrize("lowest", [-1e4, -1e6, -1e9, float(np.finfo(np.float32).min), -np.inf])
def test_masked_attention_scores(lowest: float) -> None:
    """A causal mask as exporters write it, up to minus infinity, costs the other scores nothing."""
    mask = np.triu(np.full((6, 6), lowest, np.float32), 1)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["s"]),
        helper.make_node("Add", ["s", "mask"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"]),
    ]
    result = lower_and_run(nodes, {"x": draw(6, 8)}, {"w": draw(8, 6, reach=1.0), "mask": mask})
    assert result.error() < 5e-4
    assert (result.got["y"][0, 1:] == 0).all()


@pytest.mark.parametrize("order", [("s", "p"), ("p", "s")])
@pytest.mark.parametrize("lowest", [-1e4, -1e6, -1e9, float(np.finfo(np.float32).min)])
def test_mask_computed_from_an_input(order: tuple[str, str], lowest: float) -> None:
    """(1 - mask) * lowest + scores, as BERT has it."""
    constants = {"one": np.ones((), np.float32), "lowest": np.array(lowest, np.float32)}
    nodes = [
        helper.make_node("Sub", ["one", "keep"], ["drop"]),
        helper.make_node("Mul", ["drop", "lowest"], ["p"]),
        helper.make_node("Add", order, ["m"]),
        helper.make_node("Softmax", ["m"], ["y"]),
    ]
    keep = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 1], [0, 1, 0, 0]], np.float32)
    assert lower_and_run(nodes, {"s": draw(4, 4), "keep": keep}, constants).error() < 3e-4
