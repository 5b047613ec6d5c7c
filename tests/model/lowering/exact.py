"""Operators whose result must be exact: the same numbers as onnxruntime's, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.model.lowering.single_node import Result, lower_and_run, model_of
from vml.errors import UnsupportedOperator
from vml.model.lowering.driver import InputDeclaration, lower_graph

Arrays = Mapping[str, np.ndarray]


def whole(*shape: int, seed: int = 0) -> np.ndarray:
    """float32 whole numbers up to 127 in absolute value, which their codes hold exactly."""
    values = np.random.default_rng(seed).integers(-126, 127, shape).astype(np.float32)
    values.reshape(-1)[0] = 127
    return values


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def moved(
    op: str, inputs: Arrays, constants: Arrays | None = None, outputs: int = 1, opset: int = 17, **attributes: Any
) -> Result:
    """The operator's outputs equal onnxruntime's exactly. A constant whose name starts with "_" is an omitted input."""
    names = [f"y{k}" for k in range(outputs)]
    given = dict(constants or {})
    node = helper.make_node(op, [n if n[0] != "_" else "" for n in [*inputs, *given]], names, **attributes)
    constants = {n: a for n, a in given.items() if n[0] != "_"}
    result = lower_and_run(node, inputs, constants, outputs=names, opset=opset)
    for name in names:
        assert result.got[name].shape == result.expected[name].shape
        np.testing.assert_array_equal(result.got[name], result.expected[name].astype(np.float64))
    return result


def refused(
    match: str,
    op: str,
    inputs: Arrays,
    constants: Arrays | None = None,
    outputs: int = 1,
    opset: int = 17,
    **attributes: Any,
) -> None:
    """The lowering refuses the operator with a message that matches."""
    names = [f"y{k}" for k in range(outputs)]
    given = dict(constants or {})
    node = helper.make_node(op, [n if n[0] != "_" else "" for n in [*inputs, *given]], names, **attributes)
    constants = {n: a for n, a in given.items() if n[0] != "_"}
    model = model_of([node], inputs, names, constants, opset)
    declared = [InputDeclaration(n, a.shape, a.dtype.name, -1000, 1000, Fraction(1)) for n, a in inputs.items()]
    with pytest.raises(UnsupportedOperator, match=match):
        lower_graph(model, {}, declared)
