"""Elementwise arithmetic: sums, products, quotients, powers, extremes. Integers stay exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import reduce

import numpy as np

from vml.model.builder import Value
from vml.model.lowering.base import Lowering, OnnxNode, Refused
from vml.model.lowering.functions import (
    SPREAD_LIMIT,
    absolute,
    clip,
    exponential,
    logarithm,
    masked_sum,
    negative,
    over,
    product,
    quotient,
    reciprocal,
    scalar,
    spread,
    square_root,
    truncated,
)
from vml.model.numbers import Numbers, Tensor
from vml.model.views import expand

GUARDED_BITS = 31
"""Width of the maximum or minimum of a value and a constant number."""

LARGEST_POWER = 8
"""Whole exponents up to this are products, and a constant exponent tensor may hold this many different numbers."""


def operand(node: OnnxNode, inputs: Sequence[Tensor | None], position: int = 0) -> Tensor:
    """An input that must be there. Raises Refused where it is not."""
    tensor = inputs[position] if position < len(inputs) else None
    if tensor is None:
        raise Refused(f"{node.op} needs input {position}")
    return tensor


def _pair(node: OnnxNode, inputs: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    if node.attributes.get("broadcast") or "axis" in node.attributes:
        raise Refused("broadcasting by attributes is of opset 6 and older; convert the model to opset 7 or newer")
    return operand(node, inputs, 0), operand(node, inputs, 1)


def _add(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [masked_sum(b, *_pair(node, inputs))]


def _sub(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [masked_sum(b, *_pair(node, inputs), -1)]


def _mul(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [product(b, *_pair(node, inputs))]


def _div(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, y = _pair(node, inputs)
    if any(isinstance(t, Value) and t.kind != "float" for t in (x, y)):
        return [truncated(b, b.lift(x), b.lift(y))]
    if isinstance(y, np.ndarray):
        b.check_finite(y)
        if not y.all():
            raise Refused("its constant divisor holds a zero")
        factor = scalar(y)
        if factor is not None and isinstance(x, Value):
            return [over(b.scaled(x, 1 / factor), y)]
        if spread(y) <= SPREAD_LIMIT:
            return [product(b, x, 1 / y.astype(np.float64))]
    return [quotient(b, x, b.lift(y, 31), node.limits[0])]


def _joined(inputs: Sequence[Tensor | None], join: np.ufunc) -> tuple[list[Value], np.ndarray | None]:
    """The values among the inputs, and the constants as one."""
    constants = [t for t in inputs if isinstance(t, np.ndarray)]
    return [t for t in inputs if isinstance(t, Value)], reduce(join, constants) if constants else None


def _sum(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    values, constant = _joined(inputs, np.add)
    total = reduce(b.add, values)
    return [total if constant is None else b.add(total, constant)]


def _extreme(largest: bool) -> Lowering:
    def larger(b: Numbers, x: Value, y: Tensor) -> Value:
        end = scalar(y)
        if x.kind == "float" and end is not None:
            # Wide: a maximum often guards a small number (a variance) that is to be inverted.
            return over(clip(b, x, end if largest else None, None if largest else end, GUARDED_BITS), y)
        first, second = b.align([x, y])
        less = b.less(first, second) if largest else b.less(second, first)
        return b.select(less, second, first, scale=first.scale, kind=first.kind)

    def lower(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
        values, constant = _joined(inputs, np.maximum if largest else np.minimum)
        result = values[0]
        for value in values[1:]:
            result = larger(b, result, value)
        if constant is None:
            return [result]
        if bool((constant == (-math.inf if largest else math.inf)).all()):
            return [over(result, constant)]
        b.check_finite(constant)
        return [larger(b, result, constant)]

    return lower


def _abs(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [absolute(b, b.lift(operand(node, inputs)))]


def _neg(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [negative(b, b.lift(operand(node, inputs)))]


def _sign(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, zero = b.lift(operand(node, inputs)), b.constant(np.zeros((), np.int64))
    return [b.affine(b.less(zero, x), 1, b.less(x, zero), -1, kind=x.kind)]


def _sqrt(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [square_root(b, b.lift(operand(node, inputs)))]


def _reciprocal(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [reciprocal(b, b.lift(operand(node, inputs)), node.limits[0])]


def _whole_power(b: Numbers, x: Value, exponent: int) -> Value:
    """x^exponent for exponent >= 1, highest bit first."""
    result = x
    for bit in f"{exponent:b}"[1:]:
        result = product(b, result, result)
        if bit == "1":
            result = product(b, result, x)
    return result


def _power(b: Numbers, node: OnnxNode, x: Value, exponent: Fraction) -> Value:
    """x to one constant exponent."""
    limit = node.limits[0]
    if exponent == 0:
        return expand(b.constant(np.ones((), np.int64), kind=x.kind), x.shape)
    if exponent.denominator == 1 and 0 < exponent <= LARGEST_POWER:
        return _whole_power(b, x, int(exponent))
    if x.kind != "float":
        raise Refused(f"integers to the power {float(exponent):g}; cast to float first")
    if exponent.denominator == 1 and -LARGEST_POWER <= exponent < 0:
        return reciprocal(b, _whole_power(b, x, -int(exponent)), limit)
    if exponent == Fraction(1, 2):
        return square_root(b, x)
    if exponent == Fraction(-1, 2):
        return reciprocal(b, square_root(b, x), limit)
    return _by_logarithm(b, node, x, np.array(float(exponent)))


def _by_logarithm(b: Numbers, node: OnnxNode, x: Value, exponents: np.ndarray) -> Value:
    """exp(exponents * ln(x)). Where x < 0 the power is not a real number, unless the exponent is whole: refused."""
    whole = exponents[exponents == np.rint(exponents)]
    if whole.size and b.bounds(x)[0] < 0:
        raise Refused(
            f"a base that may be negative to the power {float(whole.flat[0]):g}: powers beyond {LARGEST_POWER}, and "
            f"more than {LARGEST_POWER} different ones, need a base that calibration shows to be positive"
        )
    return exponential(b, product(b, logarithm(b, x), exponents), node.limits[0])


def _pow(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, y = _pair(node, inputs)
    if isinstance(y, Value):
        base = scalar(x)
        if base is None or base <= 0 or y.kind != "float":
            raise Refused("its exponent must be a constant (or its base one positive constant)")
        return [over(exponential(b, b.scaled(y, Fraction(math.log(base))), node.limits[0]), x)]
    b.check_finite(y)
    value, exponents = b.lift(x), sorted({float(e) for e in y.reshape(-1)})
    if len(exponents) > LARGEST_POWER:
        if value.kind != "float":
            raise Refused(f"integers to {len(exponents)} different powers; at most {LARGEST_POWER} are done")
        return [_by_logarithm(b, node, value, y.astype(np.float64))]
    powers = [_power(b, node, value, Fraction(e)) for e in exponents]
    if value.kind == "float" and len(powers) > 1:
        powers = b.align([replace(power, limit=node.limits[0]) for power in powers])
    result = powers[0]
    for exponent, power in zip(exponents[1:], powers[1:], strict=True):
        here = b.lift(np.asarray(y == exponent))
        result = b.select(here, power, result, scale=power.scale, kind=power.kind)
    return [over(result, y)]


LOWERINGS: dict[str, Lowering] = {
    "Abs": _abs,
    "Add": _add,
    "Div": _div,
    "Max": _extreme(True),
    "Min": _extreme(False),
    "Mul": _mul,
    "Neg": _neg,
    "Pow": _pow,
    "Reciprocal": _reciprocal,
    "Sign": _sign,
    "Sqrt": _sqrt,
    "Sub": _sub,
    "Sum": _sum,
}
