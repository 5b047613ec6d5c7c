"""Floor, Ceil, Round (half to even) and Mod.

A float is first brought to a power-of-two scale a little coarser than its own, so that what lies within half a code of
a whole number is that number: 2.99998 for want of a finer code is 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vml.model.builder import Value
from vml.model.lowering.arithmetic import operand
from vml.model.lowering.base import Lowering, OnnxNode, Refused
from vml.model.lowering.functions import truncated
from vml.model.numbers import Numbers, Tensor
from vml.model.scales import code_limit
from vml.model.tensor import VALUE_LIMIT

WIDTH = 31
"""Bits of the value whose fraction is taken."""


def _binary(b: Numbers, x: Value) -> tuple[Value, int]:
    """The value at scale 2^e, and e <= 16."""
    reach = max(abs(end) for end in b.bounds(x))
    finest = min(x.scale, (1 << (WIDTH - 2)) / (reach or Fraction(1)))
    e = min(16, max(0, int(finest).bit_length() - 1))
    if x.scale == 1 << e:
        return x, e
    e = max(0, e - 1)
    limit = code_limit(WIDTH)
    scaled = b.to_scale(x, Fraction(1 << e), -limit, limit, factor_bits=WIDTH - 1)
    return replace(scaled, scale=Fraction(1 << e)), e


def _nearest(b: Numbers, x: Value, e: int) -> Value:
    """floor(x + 1/2) of a value at scale 2^e."""
    bound = (b.header(x).bound >> e) + 1
    return b.rescale_codes(x, 1 << (16 - e), 16, -bound, bound)


def _floor(b: Numbers, x: Value) -> Value:
    scaled, e = _binary(b, x)
    return _nearest(b, b.affine(scaled, 1, gamma=-(1 << e >> 1)), e)


def _ceil(b: Numbers, x: Value) -> Value:
    scaled, e = _binary(b, x)
    return _nearest(b, b.affine(scaled, 1, gamma=(1 << e >> 1) - 1), e) if e else scaled


def _round(b: Numbers, x: Value) -> Value:
    scaled, e = _binary(b, x)
    up = _nearest(b, scaled, e)
    # A tie was rounded up: where that is odd, the even one is below.
    below = b.affine(up, 1 << e, scaled, -1)
    tie = b.equal(below, b.constant(np.array(1 << e >> 1))) if e else None
    if tie is None:
        return scaled
    odd = b.affine(_nearest(b, up, 1), 2, up, -1, kind="int")
    return b.affine(up, 1, b.multiply(tie, odd, kind="int"), -1)


def _remainder(b: Numbers, x: Value, y: Value, floored: bool) -> Value:
    """x - y * quotient on codes of one scale: with the sign of x, or (floored) of y."""
    whole = truncated(b, replace(x, scale=Fraction(1), kind="int"), replace(y, scale=Fraction(1), kind="int"))
    rest = b.affine(x, 1, b.multiply(whole, y, kind="int"), -1, scale=x.scale, kind=x.kind)
    rest = _below(b, rest, x, y)
    if not floored:
        return rest
    zero = b.constant(np.zeros((), np.int64))
    crossed = b.less(b.multiply(rest, y, kind="int"), zero)
    return _below(b, b.affine(rest, 1, b.multiply(crossed, y, kind="int"), 1, scale=x.scale, kind=x.kind), y, y)


def _below(b: Numbers, rest: Value, signed: Value, divisor: Value) -> Value:
    """A remainder with its range told to the static analysis: below the divisor, with the sign of ``signed``."""
    sign, end = b.header(signed), max(1, b.header(divisor).bound) - 1
    lo, hi = (0 if sign.lo >= 0 else -end), (0 if sign.hi <= 0 else end)
    header = b.header(rest)
    if (lo <= header.lo and header.hi <= hi) or header.bound >= VALUE_LIMIT >> 17:
        return rest
    return b.clamp(rest, lo, hi)


def _mod(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, y = b.align([operand(node, inputs, 0), operand(node, inputs, 1)])
    return [_remainder(b, x, y, floored=not node.attributes.get("fmod", 0))]


def _unary(function: Callable[[Numbers, Value], Value]) -> Lowering:
    def lower(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
        x = b.lift(operand(node, inputs))
        if x.kind != "float":
            raise Refused(f"{node.op} takes floats")
        return [function(b, x)]

    return lower


LOWERINGS: dict[str, Lowering] = {
    "Ceil": _unary(_ceil),
    "Floor": _unary(_floor),
    "Mod": _mod,
    "Round": _unary(_round),
}
