"""Comparisons, boolean operators and Where.

Two run-time floats are compared exactly, as the rationals their codes stand for. A float constant takes the code
nearest to it on its partner's scale, so that a value equal to the constant stays equal once quantised.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from vml.model.builder import Value
from vml.model.lowering.base import Lowering, OnnxNode, Refused
from vml.model.lowering.movement import Inputs
from vml.model.numbers import Numbers, Tensor
from vml.model.tensor import VALUE_LIMIT

MASK_FACTOR = 4
"""A constant that many times larger than the values it stands beside is a mask."""

MASK_BITS = 40

# Bringing two sides to one scale.


def _constant_like(b: Numbers, constant: np.ndarray, value: Value) -> Value:
    """A float constant as codes on the value's scale; beyond the value's range only the side matters."""
    if np.isnan(constant).any():
        raise Refused("it compares with NaN")
    header = b.header(value)
    low, high = ((end + step) / value.scale for end, step in ((header.lo, -1), (header.hi, 1)))
    codes = []
    for v in constant.ravel():
        real = max(low, min(high, Fraction(float(v)))) if np.isfinite(v) else high if v > 0 else low
        codes.append(int((2 * real * value.scale + 1) // 2))
    return b.constant(np.array(codes, dtype=np.int64).reshape(constant.shape), value.scale, value.kind)


def comparable(b: Numbers, first: Tensor, second: Tensor) -> tuple[Value, Value]:
    """Both sides with codes that compare as the values do."""
    if isinstance(first, np.ndarray) and isinstance(second, Value):
        right, left = comparable(b, second, first)
        return left, right
    assert isinstance(first, Value)
    if isinstance(second, np.ndarray):
        floats = np.issubdtype(second.dtype, np.floating)
        return first, _constant_like(b, second, first) if floats else b.lift(second)
    if first.scale == second.scale:
        return first, second
    # a / s < b / t is a * t < b * s: exact where both factors leave room, else at the nearest common scale.
    ratio = second.scale / first.scale
    if max(b.header(first).bound * ratio.numerator, b.header(second).bound * ratio.denominator) < VALUE_LIMIT:
        scale = first.scale * ratio.numerator
        return (
            b.affine(first, ratio.numerator, scale=scale, kind=first.kind),
            b.affine(second, ratio.denominator, scale=scale, kind=second.kind),
        )
    left, right = b.align([first, second], bits=32)
    return left, right


def beside(b: Numbers, value: Tensor, constant: np.ndarray) -> tuple[Value, Value]:
    """A value and a constant at one scale, to choose between them.

    A constant far beyond the value's range is a mask (-1e9, -inf). It must not coarsen the value: the value keeps its
    own scale and the constant is wide, up to 2^MASK_BITS codes, where it stands for "never the largest (smallest)".
    """
    if isinstance(value, np.ndarray) or value.kind != "float":
        first, second = b.align([value, constant])
        return first, second
    if np.isnan(constant).any():
        raise Refused("it chooses NaN; there is no code for it")
    reach = max(abs(end) for end in b.bounds(value))
    if float(np.abs(constant).max(initial=0)) <= MASK_FACTOR * reach:
        first, second = b.align([value, constant])
        return first, second
    narrow = b.narrow(value)
    end = float((1 << MASK_BITS) / narrow.scale)
    return narrow, b.quantize_constant(np.clip(constant.astype(np.float64), -end, end), narrow.scale)


def negate(b: Numbers, value: Value) -> Value:
    """not value, for a boolean."""
    return b.affine(value, -1, gamma=1, kind="bool")


def _pair(inputs: Inputs) -> tuple[Tensor, Tensor]:
    first, second = inputs
    assert first is not None
    assert second is not None
    return first, second


# Operators


def _comparison(strict_less: bool, swapped: bool, negated: bool) -> Lowering:
    """A comparison as less or equal of possibly swapped sides, possibly negated."""

    def lower(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
        left, right = comparable(b, *_pair(inputs))
        if swapped:
            left, right = right, left
        found = b.less(left, right) if strict_less else b.equal(left, right)
        return [negate(b, found) if negated else found]

    return lower


def _boolean(combine: Callable[[Numbers, Value, Value], Value]) -> Lowering:
    def lower(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
        first, second = _pair(inputs)
        return [combine(b, b.lift(first), b.lift(second))]

    return lower


def not_(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    assert isinstance(inputs[0], Value)
    return [negate(b, inputs[0])]


def where(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    condition, (x, y) = inputs[0], _pair(inputs[1:])
    assert condition is not None
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and np.issubdtype(x.dtype, np.floating):
        scale = b.constant_scale(np.concatenate([x.ravel(), y.ravel()]), (1 << (b.bits - 1)) - 1)
        first, second = b.quantize_constant(x, scale), b.quantize_constant(y, scale)
    elif isinstance(y, np.ndarray):
        first, second = beside(b, x, y)
    elif isinstance(x, np.ndarray):
        second, first = beside(b, y, x)
    else:
        first, second = b.align([x, y])
    return [b.select(b.lift(condition), first, second, scale=first.scale, kind=first.kind)]


LOWERINGS: dict[str, Lowering] = {
    "And": _boolean(lambda b, x, y: b.multiply(x, y, kind="bool")),
    "Equal": _comparison(strict_less=False, swapped=False, negated=False),
    "Greater": _comparison(strict_less=True, swapped=True, negated=False),
    "GreaterOrEqual": _comparison(strict_less=True, swapped=False, negated=True),
    "Less": _comparison(strict_less=True, swapped=False, negated=False),
    "LessOrEqual": _comparison(strict_less=True, swapped=True, negated=True),
    "Not": not_,
    "Or": _boolean(lambda b, x, y: b.select(x, x, y, kind="bool")),
    "Where": where,
    "Xor": _boolean(lambda b, x, y: negate(b, b.equal(x, y))),
}
