"""``rescale``: y = clamp((x * m + 2^(s-1)) >> s, lo, hi), arithmetic shift, so ties go up.

s is 16, 32 or 48; m >= 1 is one number or one per channel. |x| * m + 2^(s-1) < 2^62 holds statically. The output's
scale is *defined* as the input's times m / 2^s, so m loses nothing. lo = 0 is a ReLU for free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vml.model.codec import Attributes
from vml.model.primitives.base import Primitive, Read, check_operands, one_each, place, position
from vml.model.primitives.shared import clamp
from vml.model.relation import Evaluate, Product, Relation
from vml.model.tensor import VALUE_LIMIT, Header, Operand, header_for, offsets

FIELDS = (
    ("x", "view"),
    ("shift", "u8"),
    ("multiplier", "i64"),
    ("multipliers", "view"),
    ("lo", "i64"),
    ("hi", "i64"),
)
SHIFTS = (16, 32, 48)

# SHAPE


def apply(x: int, multiplier: int, shift: int, lo: int, hi: int) -> int:
    """One element, in plain integers."""
    return max(lo, min(hi, (x * multiplier + (1 << (shift - 1))) >> shift))


def shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    x, shift = operands[0], attributes["shift"]
    check_operands(attributes, out, operands[:1], ("x",))
    if shift not in SHIFTS:
        raise ValueError(f"shift {shift} is not one of {SHIFTS}")
    if attributes["lo"] > attributes["hi"]:
        raise ValueError(f"empty clamp {attributes['lo']}..{attributes['hi']}")
    if len(operands) == 2:
        check_operands(attributes, out, operands[1:], ("multipliers",))
        if operands[1].values is None or attributes["multiplier"] != 0:
            raise ValueError("per-channel multipliers are a constant tensor, and the single multiplier is then 0")
        m_lo, m_hi = operands[1].header.lo, operands[1].header.hi
    else:
        if attributes["multipliers"].strides or attributes["multipliers"].offset:
            raise ValueError("multipliers view without multipliers")
        m_lo = m_hi = attributes["multiplier"]
    if m_lo < 1:
        raise ValueError(f"multiplier {m_lo} is below 1")
    if x.header.bound * m_hi + (1 << (shift - 1)) >= VALUE_LIMIT:
        raise ValueError(f"|x| * m may reach {x.header.bound * m_hi}, the limit is 2^62")
    ends = [
        apply(v, m, shift, attributes["lo"], attributes["hi"]) for v in (x.header.lo, x.header.hi) for m in (m_lo, m_hi)
    ]
    return header_for(out, min(ends), max(ends))


# EXACT


def exact(attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]) -> list[int]:
    shift, lo, hi = attributes["shift"], attributes["lo"], attributes["hi"]
    places = offsets(attributes["x"], out.shape)
    if len(inputs) == 1:
        return [apply(inputs[0][i], attributes["multiplier"], shift, lo, hi) for i in places]
    channels = offsets(attributes["multipliers"], out.shape)
    return [apply(inputs[0][i], inputs[1][c], shift, lo, hi) for i, c in zip(places, channels, strict=True)]


# RELATION: x m + 2^(s-1) = 2^s q + remainder, 0 <= remainder < 2^s, and y = clamp(q, lo, hi) as `clamp` says it.
# |x| m + 2^(s-1) < 2^62, and `clamp` bounds 2^s q, so this holds over the integers: q is the shifted number.


def relation(r: Relation, attributes: Attributes) -> None:
    out, shift, limits = r.header.shape, attributes["shift"], (attributes["lo"], attributes["hi"])
    if r.header.lo == r.header.hi:
        r.zero("the only result", out, r.result() - r.header.lo)
        return
    x, half, m = r.operand(0, attributes["x"]), 1 << (shift - 1), attributes["multiplier"]
    channels = r.operand(1, attributes["multipliers"]) if len(r.headers) == 2 else None
    factors = (m, m) if channels is None else (r.headers[1].lo, r.headers[1].hi)
    ends = [(v * f + half) >> shift for v in (r.headers[0].lo, r.headers[0].hi) for f in factors]

    def unclamped(evaluate: Evaluate) -> Any:
        factor = m if channels is None else evaluate(channels, r.loops(out))
        return (evaluate(x, r.loops(out)) * factor + half) >> shift

    q = (min(ends), max(ends))
    y, excess, magnitude = clamp(r, out, limits, q, 1 << shift, unclamped, lambda _: r.result())
    products = [] if channels is None else [Product(1, x, channels)]
    rest = half + x * m - (y + excess) * (1 << shift)  # m = 0 where there are channels
    r.nonnegative("remainder", out, rest, (1 << shift) - 1, magnitude, products)


# STEP


def step(attributes: Attributes, out: Header, operands: Sequence[Header], element: int, read: Read) -> int:
    index, multiplier = position(out.shape, element), attributes["multiplier"]
    if len(operands) == 2:
        multiplier = read(1, place(attributes["multipliers"], index))
    x = read(0, place(attributes["x"], index))
    return apply(x, multiplier, attributes["shift"], attributes["lo"], attributes["hi"])


RESCALE = Primitive(17, "rescale", (1, 2), FIELDS, shape, exact, relation, step, one_each)
