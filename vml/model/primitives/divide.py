"""``divide``: y = floor((2a + b) / 2b) for b > 0, else 0; ``isqrt``: y = floor(sqrt(x)) for x > 0, else 0.

Both are defined by inequalities: for b > 0, 2 b y <= 2a + b < 2 b (y + 1); y^2 <= x < (y + 1)^2. The rounding of
divide is to nearest, ties up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vml.model.codec import Attributes
from vml.model.primitives.base import Primitive, Read, check_operands, one_each, place, position
from vml.model.primitives.shared import is_nonnegative
from vml.model.relation import MODULUS, ONE, Evaluate, Expression, Product, Relation, largest
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


# RELATION
#
# divide: p = [b > 0] and p (2a + b) = 2 b y + r, 0 <= r, r <= p (2b - 1), y (1 - p) = 0. With p = 1 that is division
# with remainder, one y; with p = 0, y = 0. y is bounded so that 2 b y does not wrap; where it still might,
# y = 2^w y_high + y_low and c = b y_high is a number of its own, bounded like 2a + b: 2 b y = 2^(w+1) c + 2 b y_low.
# (For b <= 0, y = 0, so y_high, y_low and c are 0.)
# isqrt: n = [x >= 0] and n x = y^2 + r, 0 <= r <= 2 y. So y^2 <= n x < (y + 1)^2, and y >= 0 is bounded below 2^31.


def divide_relation(r: Relation, attributes: Attributes) -> None:
    out, (a_header, b_header), y = r.header.shape, r.headers, r.result()
    if b_header.hi < 1:
        r.zero("nothing to divide by", out, y)
        return
    a, b = r.operand(0, attributes["a"]), r.operand(1, attributes["b"])
    positive = is_nonnegative(r, "divisor is positive", out, b - 1, (b_header.lo - 1, b_header.hi - 1))

    def remainder(evaluate: Evaluate) -> Any:
        import numpy as np

        divisor = evaluate(b, r.loops(out))
        return np.where(divisor > 0, (2 * evaluate(a, r.loops(out)) + divisor) % (2 * np.maximum(divisor, 1)), 0)

    below = 2 * b_header.hi - 1
    whole, product, exact = _twice(r, b, y, 2 * a_header.bound + b_header.bound)
    rest, top = r.natural("remainder", out, below, remainder, exact)
    if b_header.lo >= 1:
        r.zero("division", out, 2 * a + b - rest - whole, [product])
        r.nonnegative("remainder is below the divisor", out, 2 * b - 1 - rest, below, top + below)
        return
    r.zero("division", out, -1 * (rest + whole), [Product(1, positive, 2 * a + b), product])
    limit = [Product(1, positive, 2 * b - 1)]
    r.nonnegative("remainder is below the divisor", out, -1 * rest, below, top + below, limit)
    r.zero("without a divisor the result is 0", out, 0, [Product(1, y, 1 - positive)])


def _twice(r: Relation, b: Expression, y: Expression, numerator: int) -> tuple[Expression, Product, bool]:
    """2 b y as a number and the negative of a product; and whether the remainder needs exact limbs.

    Args:
        numerator: bound on |2a + b|.
    """
    out, (lo, hi), divisor = r.header.shape, (r.header.lo, r.header.hi), r.headers[1].hi

    def plain(exact: bool) -> int:
        reach = max(abs(lo), abs(lo + largest(hi - lo, exact)))
        return numerator + 2 * divisor * reach + largest(2 * divisor - 1, exact)

    for exact in (False, True):
        if plain(exact) < MODULUS:
            r.nonnegative("range of the result", out, y - lo, hi - lo, 0, exact=exact)
            return ONE * 0, Product(-2, b, y), exact

    def split(width: int, exact: bool) -> tuple[int, int]:
        """Bound on |c| for honest provers, and on the numbers of the equations."""
        honest = (numerator + 2 * divisor + (2 * divisor << width) >> (width + 1)) + 1
        reach = max(honest, largest(2 * honest, exact) - honest)
        high = max(abs(lo >> width), abs((lo >> width) + largest((hi >> width) - (lo >> width), exact)))
        division = numerator + (reach << (width + 1)) + (2 * divisor << width) + largest(2 * divisor - 1, exact)
        return honest, max(division, divisor * high + reach, (high + 1) << width)

    ways = [(width, exact) for exact in (False, True) for width in (16, 32, 48)]
    width, exact = next((way for way in ways if split(*way)[1] < MODULUS), (32, True))
    honest, magnitude = split(width, exact)
    r.no_wrap(magnitude)
    first = lo >> width
    rise = r.natural("high part", out, (hi >> width) - first, lambda e: (e(y, r.loops(out)) >> width) - first, exact)
    high = rise[0] + first
    r.nonnegative("low part", out, y - high * (1 << width), (1 << width) - 1, 0)

    def multiple(evaluate: Evaluate) -> Any:
        return evaluate(b, r.loops(out)) * evaluate(high, r.loops(out)) + honest

    c = r.natural("divisor times high part", out, 2 * honest, multiple, exact)[0] - honest
    r.zero("divisor times high part", out, c, [Product(-1, b, high)])
    return c * (2 << width), Product(-2, b, y - high * (1 << width)), exact


def isqrt_relation(r: Relation, attributes: Attributes) -> None:
    out, header, y, x = r.header.shape, r.headers[0], r.result(), r.operand(0, attributes["x"])
    if r.header.hi == 0:
        r.zero("the only result", out, y)
        return
    natural = is_nonnegative(r, "argument is natural", out, x, (header.lo, header.hi))

    def remainder(evaluate: Evaluate) -> Any:
        import numpy as np

        root = evaluate(y, r.loops(out))
        return np.maximum(evaluate(x, r.loops(out)), 0) - root * root

    top = r.nonnegative("range of the result", out, y, r.header.hi, 0, exact=True)
    rest, highest = r.natural("remainder", out, 2 * r.header.hi, remainder)
    r.no_wrap(header.bound + top * top + highest)
    r.zero("square", out, -1 * rest, [Product(1, natural, x), Product(-1, y, y)])
    r.nonnegative("remainder is below the next square", out, 2 * y - rest, 2 * r.header.hi, 2 * top + highest)


# STEP


def divide_step(attributes: Attributes, out: Header, _: Sequence[Header], element: int, read: Read) -> int:
    index = position(out.shape, element)
    return quotient(read(0, place(attributes["a"], index)), read(1, place(attributes["b"], index)))


def isqrt_step(attributes: Attributes, out: Header, _: Sequence[Header], element: int, read: Read) -> int:
    return root(read(0, place(attributes["x"], position(out.shape, element))))


DIVIDE = Primitive(
    30, "divide", (2, 2), DIVIDE_FIELDS, divide_shape, divide_exact, divide_relation, divide_step, one_each
)
ISQRT = Primitive(31, "isqrt", (1, 1), ISQRT_FIELDS, isqrt_shape, isqrt_exact, isqrt_relation, isqrt_step, one_each)
