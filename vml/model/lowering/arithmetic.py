"""Elementwise arithmetic: sums, products, quotients, powers, extremes, rounding.

Integers stay exact. Floats stay wide where that costs nothing: a quotient keeps both operands as they are, and a small
operand that is broadcast (a mean, a reciprocal deviation) keeps ``FINE_BITS`` bits in a product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vml.model.builder import Value
from vml.model.lowering.base import Lowering, OnnxNode, Refused
from vml.model.lowering.nonlinear import clip, exponential, logarithm
from vml.model.numbers import Numbers, Tensor, nice_scale
from vml.model.tensor import VALUE_LIMIT
from vml.model.views import expand

FINE_BITS = 24
"""Bits of a broadcast operand that is at most an eighth of its partner's size."""

DIVIDEND_LIMIT = VALUE_LIMIT // 8
"""A dividend's codes stay below this, so that divide's 2a + b fits whatever b is."""

QUOTIENT_BITS = 40
"""A quotient's code at the end of its calibrated range has at most this many bits."""

SPREAD_LIMIT = 256.0
"""A constant tensor whose magnitudes differ by more than this is multiplied at 30 bits, its partner at 31."""

LARGEST_POWER = 8
"""Integer exponents up to this are products; larger ones are refused for bases that may be negative."""


def _filled(b: Numbers, value: int, kind: str = "float", scale: Fraction = Fraction(1)) -> Value:
    """A scalar constant code."""
    return b.constant(np.array(value, dtype=np.int64), scale, kind)


def _scalar(tensor: Tensor | None) -> Fraction | None:
    """The one finite number a static float tensor holds everywhere, if it does."""
    if not isinstance(tensor, np.ndarray) or not np.issubdtype(tensor.dtype, np.floating) or tensor.size == 0:
        return None
    first = tensor.reshape(-1)[0]
    return Fraction(float(first)) if np.isfinite(first) and bool((tensor == first).all()) else None


def _over(value: Value, *others: Tensor) -> Value:
    """The value over the broadcast shape of all: for an operation whose other operand vanished into the scale."""
    return expand(value, np.broadcast_shapes(value.shape, *(t.shape for t in others)))


def negative(b: Numbers, x: Value) -> Value:
    """-x, exactly."""
    return b.affine(x, -1, scale=x.scale, kind=x.kind)


def is_negative(b: Numbers, x: Value) -> Value:
    """x < 0: bool."""
    return b.less(x, _filled(b, 0))


def absolute(b: Numbers, x: Value) -> Value:
    """|x|, exactly."""
    if b.header(x).lo >= 0:
        return x
    return b.select(is_negative(b, x), negative(b, x), x, scale=x.scale, kind=x.kind)


def sign_factor(b: Numbers, x: Value) -> Value:
    """-1 where x < 0, else 1: int."""
    return b.affine(is_negative(b, x), -2, gamma=1, kind="int")


def _spread(array: np.ndarray) -> float:
    """Largest over smallest magnitude among the elements that are not 0."""
    sizes = np.abs(array[array != 0]).astype(np.float64)
    return float(sizes.max() / sizes.min()) if sizes.size else 1.0


def product(b: Numbers, x: Tensor, y: Tensor) -> Value:
    """x * y: exact for integers, free for a scalar constant, else of operands narrowed to what they need."""
    if isinstance(x, np.ndarray):
        x, y = y, x
    if not isinstance(x, Value):
        raise ValueError("two constants are folded, not multiplied")
    if x.kind != "float":
        return b.multiply(x, b.lift(y), kind="int")
    factor = _scalar(y)
    if factor is not None:
        return _over(b.scaled(x, factor), y)
    size = math.prod(np.broadcast_shapes(x.shape, y.shape))
    bits = [FINE_BITS if math.prod(t.shape) * 8 <= size else None for t in (x, y)]
    if isinstance(y, np.ndarray) and _spread(y) > SPREAD_LIMIT:
        bits = [31, 30]
    first, second = (b.narrow(t, n) for t, n in zip((x, y), bits, strict=True))
    return b.multiply(first, second, scale=first.scale * second.scale, kind="float")


def quotient(b: Numbers, dividend: Tensor, divisor: Value, limit: tuple[float, float] | None) -> Value:
    """dividend / divisor of floats, rounded to nearest; 0 where the divisor is 0.

    Args:
        limit: calibrated range of the quotient: its code there gets QUOTIENT_BITS bits, or as many as fit.
    """
    below = absolute(b, divisor)
    reach = max((abs(Fraction(end)) for end in limit or ()), default=Fraction(0))
    wanted = divisor.scale * (1 << QUOTIENT_BITS) / reach if reach else None
    if isinstance(dividend, np.ndarray):
        b.check_finite(dividend)
        largest = Fraction(float(np.abs(dividend).max(initial=0))) or Fraction(1)
        fits = (DIVIDEND_LIMIT - 1) / largest
        above = b.quantize_constant(dividend, nice_scale(min(fits, wanted or fits)))
    else:
        factor = (DIVIDEND_LIMIT - 1) // max(1, b.header(dividend).bound)
        if wanted is not None:
            factor = min(factor, int(wanted / dividend.scale))
        above = dividend if factor <= 1 else b.affine(dividend, factor, scale=dividend.scale * factor)
    result = b.divide(above, below, scale=above.scale / divisor.scale)
    if below is not divisor:
        result = b.multiply(result, sign_factor(b, divisor), scale=result.scale, kind="float")
    result = replace(result, limit=limit)
    # Statically a quotient may be as large as its dividend: cut it to its calibrated range before others add to it.
    return b.narrow(result, 31) if b.header(result).bound >> 46 else result


def square_root(b: Numbers, x: Value) -> Value:
    """sqrt(x), 0 below 0. The scale is the square root of the operand's, rounded to 60 bits."""
    spare = (VALUE_LIMIT - 1) // max(1, b.header(x).bound)
    factor = 1 << (spare.bit_length() - 1)
    wide = b.affine(x, factor, scale=x.scale * factor, kind=x.kind)
    return b.isqrt(wide, scale=rational_root(wide.scale))


def rational_root(square: Fraction) -> Fraction:
    """The square root of a positive rational: exact where it is rational, else rounded down to 60 bits."""
    n, d = square.numerator, square.denominator
    if math.isqrt(n) ** 2 == n and math.isqrt(d) ** 2 == d:
        return Fraction(math.isqrt(n), math.isqrt(d))
    exponent = max(0, 60 - (n.bit_length() - d.bit_length()) // 2)
    return Fraction(math.isqrt((n << (2 * exponent)) // d), 1 << exponent)


def truncated(b: Numbers, x: Value, y: Value) -> Value:
    """Integer quotient towards zero, 0 where y = 0: |x|/|y| rounded down, with the sign of x * y."""
    top, below = absolute(b, x), absolute(b, y)
    # floor(n / d) is the quotient of 2n - d by 2d rounded to nearest with ties up.
    down = b.divide(b.affine(top, 2, below, -1), b.affine(below, 2), kind="int")
    for operand in (x, y):
        if b.header(operand).lo < 0:
            down = b.multiply(down, sign_factor(b, operand), kind="int")
    return down


# Operators.


def _pair(node: OnnxNode, inputs: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    if len(inputs) != 2 or inputs[0] is None or inputs[1] is None:
        raise Refused(f"{node.op} takes two inputs")
    return inputs[0], inputs[1]


def _operand(b: Numbers, inputs: Sequence[Tensor | None]) -> Value:
    if not inputs or inputs[0] is None:
        raise Refused("its input is missing")
    return b.lift(inputs[0])


def _check_broadcast(node: OnnxNode) -> None:
    if node.attributes.get("broadcast") or "axis" in node.attributes:
        raise Refused("broadcasting by attributes is of opset 6 and older; convert the model to opset 7 or newer")


def _add(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    _check_broadcast(node)
    x, y = _pair(node, inputs)
    return [b.add(x, y)]


def _sub(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    _check_broadcast(node)
    x, y = _pair(node, inputs)
    return [b.add(x, y, -1)]


def _mul(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    _check_broadcast(node)
    return [product(b, *_pair(node, inputs))]


def _div(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    _check_broadcast(node)
    x, y = _pair(node, inputs)
    if any(isinstance(t, Value) and t.kind != "float" for t in (x, y)):
        return [truncated(b, b.lift(x), b.lift(y))]
    if isinstance(y, np.ndarray):
        b.check_finite(y)
        if not y.all():
            raise Refused("its constant divisor holds a zero")
        factor = _scalar(y)
        if factor is not None and isinstance(x, Value):
            return [_over(b.scaled(x, 1 / factor), y)]
        if _spread(y) <= SPREAD_LIMIT:
            return [product(b, x, 1 / y.astype(np.float64))]
    return [quotient(b, x, b.lift(y, 31), node.limits[0])]


def _sum(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    terms = [t for t in inputs if t is not None]
    constants = [t for t in terms if isinstance(t, np.ndarray)]
    values: list[Tensor] = [t for t in terms if isinstance(t, Value)]
    if constants:
        values.append(np.asarray(sum(constants[1:], constants[0])))
    total = values[0]
    for term in values[1:]:
        total = b.add(total, term)
    return [total]


def _larger(b: Numbers, x: Tensor, y: Tensor, largest: bool) -> Value:
    """The larger (or smaller) of two; beside one constant number it is a clamp."""
    if isinstance(x, np.ndarray):
        x, y = y, x
    end = _scalar(y)
    if isinstance(x, Value) and x.kind == "float" and end is not None:
        return _over(clip(b, x, end if largest else None, None if largest else end), y)
    first, second = b.align([x, y])
    less = b.less(first, second) if largest else b.less(second, first)
    return b.select(less, second, first, scale=first.scale, kind=first.kind)


def _extreme(largest: bool) -> Lowering:
    def lower(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
        terms = [t for t in inputs if t is not None]
        identity = -math.inf if largest else math.inf
        kept = [t for t in terms if isinstance(t, Value) or not bool((t == identity).all())]
        if any(isinstance(t, np.ndarray) and not np.isfinite(t).all() for t in kept):
            raise Refused("one of its constants holds NaN or infinity; only a whole constant of the neutral one is ignored")
        result = kept[0]
        for term in kept[1:]:
            result = _larger(b, result, term, largest)
        assert isinstance(result, Value)
        return [_over(result, *terms)]

    return lower


def _abs(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [absolute(b, _operand(b, inputs))]


def _neg(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [negative(b, _operand(b, inputs))]


def _sign(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x = _operand(b, inputs)
    zero = _filled(b, 0)
    return [b.affine(b.less(zero, x), 1, b.less(x, zero), -1, kind=x.kind)]


def _sqrt(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [square_root(b, _operand(b, inputs))]


def reciprocal(b: Numbers, x: Value, limit: tuple[float, float] | None) -> Value:
    """1 / x, with as many bits as its calibrated range leaves."""
    return quotient(b, np.ones(()), x, limit)


def _reciprocal(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [reciprocal(b, _operand(b, inputs), node.limits[0])]


def _whole_power(b: Numbers, x: Value, exponent: int) -> Value:
    """x^exponent for exponent >= 1, by squaring."""
    result: Value | None = None
    square = x
    while exponent:
        if exponent & 1:
            result = square if result is None else product(b, result, square)
        exponent >>= 1
        if exponent:
            square = product(b, square, square)
    assert result is not None
    return result


def _power_of(b: Numbers, node: OnnxNode, x: Value, exponent: Fraction) -> Value:
    """x to a constant scalar exponent."""
    limit = node.limits[0]
    if exponent == 0:
        one = _filled(b, 1, x.kind)
        return expand(one, x.shape)
    if exponent.denominator == 1 and 0 < exponent <= LARGEST_POWER:
        return _whole_power(b, x, int(exponent))
    if x.kind != "float":
        raise Refused(f"integers to the power {float(exponent):g}; cast to float first")
    if exponent == Fraction(1, 2):
        return square_root(b, x)
    if exponent.denominator == 1 and -LARGEST_POWER <= exponent < 0:
        return reciprocal(b, _whole_power(b, x, -int(exponent)), limit)
    if exponent == Fraction(-1, 2):
        return reciprocal(b, square_root(b, x), limit)
    if x.limit is not None and x.limit[0] < 0:
        raise Refused(f"a base that may be negative to the power {float(exponent):g}")
    return exponential(b, b.scaled(logarithm(b, x), exponent), limit)


def _pow(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, y = _pair(node, inputs)
    if isinstance(y, Value):
        base = _scalar(x)
        if base is None or base <= 0 or y.kind != "float":
            raise Refused("its exponent must be a constant (or its base one positive constant)")
        exponent = _over(b.scaled(y, Fraction(math.log(base))), x)
        return [exponential(b, exponent, node.limits[0])]
    base_value = b.lift(x)
    exponents = sorted({float(e) for e in y.reshape(-1)})
    if not all(math.isfinite(e) for e in exponents) or len(exponents) > LARGEST_POWER:
        raise Refused(f"its exponent holds {len(exponents)} different numbers; at most {LARGEST_POWER} finite ones are done")
    powers = [_power_of(b, node, base_value, Fraction(e)) for e in exponents]
    if base_value.kind == "float" and len(powers) > 1:
        powers = b.align([replace(p, limit=node.limits[0]) for p in powers])
    result = powers[0]
    for exponent_value, power in zip(exponents[1:], powers[1:], strict=True):
        here = b.lift(np.asarray(y == exponent_value))
        result = b.select(here, power, result, scale=power.scale, kind=power.kind)
    return [_over(result, y)]


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
