"""Softmax and LogSoftmax: subtract the largest, exponential table, sum, divide (or logarithm).

The argument of the exponential is clamped at the table's end, exp(-16) = 1.1e-7. Its rounding to 1/2^11 bounds a
probability's relative error by 2.5e-4 twice (the term and the sum).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from vml.model.builder import Value
from vml.model.lowering.arithmetic import operand
from vml.model.lowering.base import Lowering, OnnxNode, normalize_axis
from vml.model.lowering.functions import Q15, logarithm, tabulated
from vml.model.numbers import Numbers, Tensor

LARGEST_TERM = (1 << 15) - 1
"""Code of exp(0) in the table: the sum is never below it."""


def _axes(node: OnnxNode, rank: int) -> list[int]:
    """The axes over which probabilities add up to 1: one, or before opset 13 all from ``axis`` on."""
    if node.opset >= 13:
        return [normalize_axis(node.attributes.get("axis", -1), rank)]
    axis = node.attributes.get("axis", 1)
    # axis = rank is allowed there: every element is a row of its own.
    return [] if axis == rank else list(range(normalize_axis(axis, rank), rank))


def _below_largest(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None], axes: Sequence[int]) -> Value:
    """x - max(x) over the axes."""
    x = b.lift(operand(node, inputs))
    largest = b.reduce("reduce_max", x, axes, keepdims=True)
    return b.affine(x, 1, largest, -1, scale=x.scale)


def _terms(b: Numbers, below: Value, axes: Sequence[int]) -> tuple[Value, Value]:
    """exp(x - max(x)) and their sum over the axes, both at scale 2^15."""
    terms = tabulated(b, below, "exp", hi=0)
    total = b.reduce("reduce_sum", terms, axes, keepdims=True)
    # The term of the largest is in every sum; the clamp tells that to the static analysis.
    return terms, b.clamp(total, LARGEST_TERM, b.header(total).hi)


def _softmax(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x = b.lift(operand(node, inputs))
    axes = _axes(node, x.rank)
    terms, total = _terms(b, _below_largest(b, node, inputs, axes), axes)
    shares = b.affine(terms, LARGEST_TERM)
    return [replace(b.divide(shares, total, scale=Q15 - 1), limit=(0.0, 1.0))]


def _log_softmax(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x = b.lift(operand(node, inputs))
    axes = _axes(node, x.rank)
    below = _below_largest(b, node, inputs, axes)
    _, total = _terms(b, below, axes)
    count = math.prod(x.shape[k] for k in axes)
    return [b.add(below, logarithm(b, total, (0.0, math.log(count))), -1)]


LOWERINGS: dict[str, Lowering] = {"LogSoftmax": _log_softmax, "Softmax": _softmax}
