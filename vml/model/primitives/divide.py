"""``divide``: y = floor((2a + b) / 2b) for b > 0, else 0; ``isqrt``: y = floor(sqrt(x)) for x > 0, else 0.

Both are defined by inequalities: for b > 0, 2 b y <= 2a + b < 2 b (y + 1); y^2 <= x < (y + 1)^2. The rounding of
divide is to nearest, ties up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vml.model.codec import Attributes
from vml.model.primitives.base import Primitive, check_operands
from vml.model.tensor import VALUE_LIMIT, Header, Operand, header_for, offsets

DIVIDE_FIELDS = (("a", "view"), ("b", "view"))
ISQRT_FIELDS = (("x", "view"),)

# SHAPE


def quotient(a: int, b: int) -> int:
    """One element of divide, in plain integers."""
    return (2 * a + b) // (2 * b) if b > 0 else 0


def root(x: int) -> int:
    """One element of isqrt, in plain integers."""
    return math.isqrt(x) if x > 0 else 0


def divide_shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    check_operands(attributes, out, operands, ("a", "b"))
    a, b = (operand.header for operand in operands)
    if 2 * a.bound + b.bound >= VALUE_LIMIT:
        raise ValueError(f"|2a + b| may reach {2 * a.bound + b.bound}, the limit is 2^62")
    if b.hi < 1:
        return header_for(out, 0, 0)
    # The quotient is monotone in a, and for fixed a its extremes lie at the ends of b > 0.
    ends = [quotient(x, y) for x in (a.lo, a.hi) for y in (max(1, b.lo), b.hi)]
    if b.lo < 1:
        ends.append(0)
    return header_for(out, min(ends), max(ends))


def isqrt_shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    check_operands(attributes, out, operands, ("x",))
    return header_for(out, root(operands[0].header.lo), root(operands[0].header.hi))


# EXACT


def divide_exact(
    attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]
) -> list[int]:
    places = zip(offsets(attributes["a"], out.shape), offsets(attributes["b"], out.shape), strict=True)
    return [quotient(inputs[0][i], inputs[1][j]) for i, j in places]


def isqrt_exact(attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]) -> list[int]:
    return [root(inputs[0][i]) for i in offsets(attributes["x"], out.shape)]


DIVIDE = Primitive(30, "divide", (2, 2), DIVIDE_FIELDS, divide_shape, divide_exact)
ISQRT = Primitive(31, "isqrt", (1, 1), ISQRT_FIELDS, isqrt_shape, isqrt_exact)
