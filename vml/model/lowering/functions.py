"""Functions of real numbers on values: what the operators of several families are made of.

=============  ==================================================================================================
function       error beyond that of its operands
=============  ==================================================================================================
tabulated      the argument is rounded to 1/2^11 (Q4.11), so half a step times the slope, at most 2.5e-4; 2^-16 more
exponential    2.5e-4 of the value (argument) and 2^-16 of the largest calibrated value
logarithm      at most 4e-4, over the whole range of positive codes
quotient       half a code, QUOTIENT_BITS below the end of the calibrated range
square_root    one code of at least 30 bits at the end of the static range
sine           a phase of 16 bits: 5e-5
=============  ==================================================================================================
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vml.errors import UnsupportedModel
from vml.model.builder import Value
from vml.model.numbers import Numbers, Tensor
from vml.model.scales import code_limit, nice_scale, to_codes
from vml.model.tensor import VALUE_LIMIT
from vml.model.views import expand

FINE_BITS = 24
"""Bits of a factor that is squared, or small beside the graph's largest tensor: means, deviations, gates."""

SMALL = 8
"""A tensor this many times smaller than the largest is small."""

SPREAD_LIMIT = 256.0
"""A constant tensor whose magnitudes differ by more than this is multiplied at 30 bits, its partner at 31."""

QUOTIENT_BITS = 40
"""A quotient's code at the end of its calibrated range has at most this many bits."""

DIVIDEND_LIMIT = VALUE_LIMIT // 8
"""A dividend's codes stay below this, so that divide's 2a + b fits whatever b is."""

Q11 = Fraction(1 << 11)
"""Codes per unit of a table's argument."""

Q15 = Fraction(1 << 15)
"""Codes per unit of a table's value."""

ARGUMENT_BITS = 17
"""A factor that brings an argument to a table's scale carries at least this many bits where the range allows it."""

ONE = Fraction(1)

TURN = 1 << 16
"""Codes of a full turn in the sine table."""

FAR = 1 << 8
"""A summand this many times larger than its partner's range may be a mask: the partner keeps FINE_BITS bits."""

SWALLOWING = 1 << 20
"""A constant this many times larger than its partner's range stands for the sum."""

COARSE = 1 << 12
"""A value whose single code is this many times larger than its partner's range stands for the sum, unless it is 0."""

MASK_END = 1 << 44
"""Largest code in such a sum, also that of infinity: differences of two can still be clamped without losing bits."""

LOG_STEP = 3
"""Each segment of a logarithm reads its operand shifted by this many more bits."""

Range = tuple[float, float] | None
"""Calibrated (lo, hi) of a result in units, where known."""


def scalar(tensor: Tensor | None) -> Fraction | None:
    """The one finite number a static float tensor holds everywhere, if it does."""
    if not isinstance(tensor, np.ndarray) or not np.issubdtype(tensor.dtype, np.floating) or tensor.size == 0:
        return None
    first = tensor.reshape(-1)[0]
    return Fraction(float(first)) if np.isfinite(first) and bool((tensor == first).all()) else None


def spread(array: np.ndarray) -> float:
    """Largest over smallest magnitude among the elements that are not 0."""
    sizes = np.abs(array[array != 0]).astype(np.float64)
    return float(sizes.max() / sizes.min()) if sizes.size else 1.0


def over(value: Value, *others: Tensor) -> Value:
    """The value over the broadcast shape of all: for an operation whose other operand vanished into the scale."""
    return expand(value, np.broadcast_shapes(value.shape, *(t.shape for t in others)))


# Sign.


def negative(b: Numbers, x: Value) -> Value:
    """-x, exactly."""
    return b.affine(x, -1, scale=x.scale, kind=x.kind)


def is_negative(b: Numbers, x: Value) -> Value:
    """x < 0: bool."""
    return b.less(x, b.constant(np.zeros((), np.int64)))


def absolute(b: Numbers, x: Value) -> Value:
    """|x|, exactly."""
    if b.header(x).lo >= 0:
        return x
    return b.select(is_negative(b, x), negative(b, x), x, scale=x.scale, kind=x.kind)


def sign_factor(b: Numbers, x: Value) -> Value:
    """-1 where x < 0, else 1: int."""
    return b.affine(is_negative(b, x), -2, gamma=1, kind="int")


# Ends.


def clip(b: Numbers, x: Value, lo: Fraction | None, hi: Fraction | None, bits: int | None = None) -> Value:
    """min(max(x, lo), hi), narrowed on the way to ``bits`` (default: activation width); None is no end.

    Raises:
        UnsupportedModel: integers too wide to clamp.
    """
    if lo is not None and hi is not None:
        lo = min(lo, hi)
    if x.kind != "float":
        header = b.header(x)
        ends = (header.lo if lo is None else math.ceil(lo), header.hi if hi is None else math.floor(hi))
        return b.clamp(x, min(ends), max(ends))
    if lo == 0 and hi is None:
        return b.narrow(x, bits, lo=0)
    limit = code_limit(bits or b.bits)
    low, high = b.bounds(x)
    if lo is not None:
        low, high = max(low, lo), max(high, lo)
    if hi is not None:
        low, high = min(low, hi), min(high, hi)
    reach = max(abs(low), abs(high))
    target = min(nice_scale(limit / reach), x.scale) if reach else x.scale
    ends = (-limit if lo is None else round(lo * target), limit if hi is None else round(hi * target))
    return b.to_scale(x, target, max(-limit, min(ends)), min(limit, max(ends)), factor_bits=ARGUMENT_BITS)


# Masks: minus infinity, or a very negative number, added to what must not count.


def masked_sum(b: Numbers, x: Tensor, y: Tensor, sign: int = 1) -> Value:
    """x + sign * y, where what is far larger than its partner stands for the sum, so that the others stay precise."""
    if isinstance(x, np.ndarray) and sign == 1:
        x, y = y, x
    if not isinstance(x, Value) or x.kind != "float":
        return b.add(x, y, sign)
    reach = max(abs(end) for end in b.bounds(x)) or Fraction(1)
    if isinstance(y, np.ndarray):
        return _sum_beside_constant(b, x, y, sign, reach)
    if y.kind == "float" and y.scale * COARSE * reach <= 1:
        fine = b.narrow(x, FINE_BITS)
        factor = min(int(fine.scale / y.scale), MASK_END // max(1, b.header(y).bound))
        return b.select(y, b.affine(y, sign * factor), fine, scale=fine.scale)
    if sign == 1 and y.kind == "float" and x.scale * COARSE * max(abs(end) for end in b.bounds(y)) <= 1:
        return masked_sum(b, y, x)
    return b.add(x, y, sign)


def _sum_beside_constant(b: Numbers, x: Value, y: np.ndarray, sign: int, reach: Fraction) -> Value:
    """x + sign * y, where elements of y that are far larger than x, or infinite, stand for the sum."""
    sizes = np.abs(y.astype(np.float64))
    if not (sizes >= float(FAR * reach)).any():
        return b.add(x, y, sign)
    fine, huge = b.narrow(x, FINE_BITS), sizes >= float(SWALLOWING * reach)
    rest = b.add(fine, np.where(huge, 0, y).astype(y.dtype), sign)
    if not huge.any():
        return rest
    end = MASK_END / float(rest.scale)
    ends = to_codes(np.clip(np.where(huge, y, 0).astype(np.float64), -end, end) * sign, rest.scale)
    return b.select(b.lift(huge), b.constant(ends), rest, scale=rest.scale)


# Products, quotients, roots.


def product(b: Numbers, x: Tensor, y: Tensor) -> Value:
    """x * y: exact for integers, free for a scalar constant, else of operands narrowed to what they need."""
    if isinstance(x, np.ndarray):
        x, y = y, x
    if not isinstance(x, Value):
        raise ValueError("two constants are folded, not multiplied")
    if x.kind != "float":
        return b.multiply(x, b.lift(y), kind="int")
    factor = scalar(y)
    if factor is not None:
        return over(b.scaled(x, factor), y)
    largest = max(node.header.size for node in b.nodes if node.primitive != "constant")
    # A square may go into a variance E[x^2] - E[x]^2, where x must be the same number in both.
    bits = [FINE_BITS if x is y or math.prod(t.shape) * SMALL <= largest else None for t in (x, y)]
    if isinstance(y, np.ndarray) and spread(y) > SPREAD_LIMIT:
        bits = [31, 30]
    first, second = (b.narrow(t, n) for t, n in zip((x, y), bits, strict=True))
    return b.multiply(first, second, scale=first.scale * second.scale, kind="float")


def _divisor(b: Numbers, x: Value) -> tuple[Value, bool]:
    """The divisor's size, and whether its sign must still be applied."""
    if b.header(x).lo >= 0:
        return x, False
    if x.limit is not None and x.limit[0] >= 0:
        return b.narrow(x, 31, lo=0), False  # calibration has seen no negative one
    return absolute(b, x), True


def _is_mild(x: Value) -> bool:
    """Whether the inverse keeps 15 bits or more of FINE_BITS over the whole calibrated range."""
    return x.limit is not None and 0 < x.limit[1] <= SPREAD_LIMIT * x.limit[0]


def quotient(b: Numbers, dividend: Tensor, divisor: Value, limit: Range) -> Value:
    """dividend / divisor of floats, rounded to nearest; 0 where the divisor is 0.

    A divisor that is much smaller than the dividend (a deviation, a sum of exponentials) is inverted once instead.

    Args:
        limit: calibrated range of the quotient: its code there gets QUOTIENT_BITS bits, or as many as fit.
    """
    elements = math.prod(divisor.shape)
    if isinstance(dividend, Value) and elements * SMALL <= math.prod(dividend.shape) and _is_mild(divisor):
        assert divisor.limit is not None
        inverse = reciprocal(b, divisor, (1 / divisor.limit[1], 1 / divisor.limit[0]))
        first, second = b.narrow(dividend, FINE_BITS), b.narrow(inverse, FINE_BITS)
        return b.multiply(first, second, scale=first.scale * second.scale, kind="float")
    below, signed = _divisor(b, divisor)
    reach = max((abs(Fraction(end)) for end in limit or ()), default=Fraction(0))
    wanted = below.scale * (1 << QUOTIENT_BITS) / reach if reach else None
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
    result = b.divide(above, below, scale=above.scale / below.scale)
    if signed:
        result = b.multiply(result, sign_factor(b, divisor), scale=result.scale, kind="float")
    result = replace(result, limit=limit)
    # Statically a quotient may be as large as its dividend: cut it to its calibrated range before others add to it.
    return b.narrow(result, 31) if b.header(result).bound >> 46 else result


def reciprocal(b: Numbers, x: Value, limit: Range) -> Value:
    """1 / x, with as many bits as its calibrated range leaves; 0 where x is 0."""
    return quotient(b, np.ones(()), x, limit)


def truncated(b: Numbers, x: Value, y: Value) -> Value:
    """Integer quotient towards zero, 0 where y = 0: |x| / |y| rounded down, with the sign of x * y."""
    top, below = absolute(b, x), absolute(b, y)
    # floor(n / d) is the quotient of 2n - d by 2d rounded to nearest with ties up.
    down = b.divide(b.affine(top, 2, below, -1), b.affine(below, 2), kind="int")
    if b.header(down).lo < 0 and b.header(down).bound < VALUE_LIMIT >> 17:
        # It is never negative; the clamp tells that to the static analysis.
        down = b.clamp(down, 0, b.header(top).hi)
    for operand in (x, y):
        if b.header(operand).lo < 0:
            down = b.multiply(down, sign_factor(b, operand), kind="int")
    return down


def square_root(b: Numbers, x: Value) -> Value:
    """sqrt(x), 0 below 0. The scale is the square root of the operand's, rounded down to 60 bits."""
    spare = (VALUE_LIMIT - 1) // max(1, b.header(x).bound)
    factor = 1 << (spare.bit_length() - 1)
    wide = b.affine(x, factor, scale=x.scale * factor, kind=x.kind)
    return b.isqrt(wide, scale=rational_root(wide.scale))


def rational_root(square: Fraction) -> Fraction:
    """The square root of a positive rational: exact where it is rational, else rounded down to about 60 bits."""
    n, d = square.numerator, square.denominator
    if math.isqrt(n) ** 2 == n and math.isqrt(d) ** 2 == d:
        return Fraction(math.isqrt(n), math.isqrt(d))
    exponent = max(0, 60 - (n.bit_length() - d.bit_length()) // 2)
    return Fraction(math.isqrt((n << (2 * exponent)) // d), 1 << exponent)


# Tables.


def tabulated(
    b: Numbers, x: Value, name: str, *, lo: int = -32768, hi: int = 32767, factor: Fraction = Fraction(1)
) -> Value:
    """The canonical table ``name`` at factor * x, clamped to codes lo..hi of its domain: at most 15 bits and a sign."""
    argument = b.to_scale(x, Q11 * factor, lo, hi, factor_bits=ARGUMENT_BITS)
    return b.lookup(argument, name, scale=Q15)


def exponential(b: Numbers, x: Value, limit: Range) -> Value:
    """exp(x) = exp(top) * T[x - top], saturated at the end of its calibrated range.

    Args:
        limit: calibrated range of the result; without one, top is the largest x that can occur.

    Raises:
        UnsupportedModel: the result could exceed float32.
    """
    top = b.bounds(x)[1]
    if limit is not None and limit[1] > 0:
        top = min(top, Fraction(math.log(limit[1]) + math.log(b.headroom)))
    if top > 88:
        raise UnsupportedModel(
            f"node {b.name!r}: exp of up to {float(top):.4g} exceeds float32; calibrate with real data"
        )
    shift = math.ceil(top * x.scale)
    below = b.affine(x, 1, gamma=-shift, scale=x.scale)
    return replace(tabulated(b, below, "exp", hi=0), scale=Q15 / Fraction(math.exp(shift / x.scale)), limit=limit)


def logarithm(b: Numbers, x: Value, limit: Range = None) -> Value:
    """ln(x) by segments: each reads the table at x shifted right, so that the argument keeps 12 bits or more.

    Args:
        x: positive; what is not counts as half a code. limit: calibrated range of the result, to save segments.
    """
    if b.header(x).bound >> 45:
        x = b.narrow(x, 30)
    top, shift = max(1, b.header(x).hi).bit_length(), 0
    if limit is not None:
        lowest, highest = (Fraction(math.exp(max(-80.0, min(end, 80.0)))) * x.scale for end in limit)
        top = min(top, int(highest * b.headroom).bit_length())
        shift = max(0, min(int(lowest / b.headroom).bit_length() - 13, top - 15))
    result = _log_segment(b, x, shift)
    while shift < top - 15:
        small = b.less(x, b.constant(np.array(32767 << shift)))
        shift = min(shift + LOG_STEP, top - 15)
        result = b.select(small, result, _log_segment(b, x, shift), scale=result.scale)
    return replace(result, limit=limit)


def _log_segment(b: Numbers, x: Value, shift: int) -> Value:
    """ln(x) where x >> shift lies in the table."""
    # A multiplier of a power of two is a shift by less than rescale's own.
    own = 16 if shift <= 16 else 32
    argument = b.rescale_codes(x, 1 << (own - shift), own, 0, 32767)
    offset = shift * math.log(2) - math.log(x.scale.numerator) + math.log(x.scale.denominator)
    return b.affine(b.lookup(argument, "log"), int(Q15 / Q11), gamma=round(offset * Q15), scale=Q15)


def sine(b: Numbers, x: Value, ahead: int = 0) -> Value:
    """sin(x + ahead): x becomes a phase of 2^16 codes a turn, taken modulo one turn.

    Args:
        ahead: codes of the phase added; a quarter turn makes it a cosine.
    """
    fine = b.narrow(x, 31)
    phase = b.to_scale(fine, Fraction(TURN) / Fraction(2 * math.pi), factor_bits=ARGUMENT_BITS)
    if ahead:
        phase = b.affine(phase, 1, gamma=ahead)
    turns = b.rescale_codes(phase, 1, 16, -VALUE_LIMIT + 1, VALUE_LIMIT - 1)
    # phase - turns lies in half a turn to both sides; the clamp only tells that to the static analysis.
    rest = b.clamp(b.affine(phase, 1, turns, -TURN), -TURN // 2, TURN // 2 - 1)
    return b.lookup(rest, "sin", scale=Q15)
