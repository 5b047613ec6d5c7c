"""``affine``: y = alpha * a + beta * b + gamma elementwise (b absent: beta = 0); ``multiply``: y = a * b elementwise.

Broadcasting is a view with stride 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from vml.model.codec import Attributes, View
from vml.model.primitives.base import Primitive, Read, check_operands, one_each, place, position
from vml.model.relation import Product, Relation
from vml.model.tensor import VALUE_LIMIT, Header, Operand, header_for, offsets

FIELDS = (("a", "view"), ("b", "view"), ("alpha", "i64"), ("beta", "i64"), ("gamma", "i64"))
MULTIPLY_FIELDS = (("a", "view"), ("b", "view"))

# SHAPE


def _interval(factor: int, header: Header) -> tuple[int, int]:
    ends = (factor * header.lo, factor * header.hi)
    return min(ends), max(ends)


def affine_shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    check_operands(attributes, out, operands, ("a", "b")[: len(operands)])
    lo, hi = _interval(attributes["alpha"], operands[0].header)
    size = abs(attributes["alpha"]) * operands[0].header.bound + abs(attributes["gamma"])
    if len(operands) == 2:
        b_lo, b_hi = _interval(attributes["beta"], operands[1].header)
        lo, hi, size = lo + b_lo, hi + b_hi, size + abs(attributes["beta"]) * operands[1].header.bound
    elif attributes["beta"] or attributes["b"] != View(0, ()):
        raise ValueError("beta without a second operand")
    if size >= VALUE_LIMIT:
        raise ValueError(f"|alpha a| + |beta b| + |gamma| may reach {size}, the limit is 2^62")
    return header_for(out, lo + attributes["gamma"], hi + attributes["gamma"])


def multiply_shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    check_operands(attributes, out, operands, ("a", "b"))
    a, b = (operand.header for operand in operands)
    corners = [x * y for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return header_for(out, min(corners), max(corners))


# EXACT


def affine_exact(
    attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]
) -> list[int]:
    alpha, beta, gamma = attributes["alpha"], attributes["beta"], attributes["gamma"]
    first = [alpha * inputs[0][i] + gamma for i in offsets(attributes["a"], out.shape)]
    if len(inputs) == 1:
        return first
    return [y + beta * inputs[1][i] for y, i in zip(first, offsets(attributes["b"], out.shape), strict=True)]


def multiply_exact(
    attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]
) -> list[int]:
    places = zip(offsets(attributes["a"], out.shape), offsets(attributes["b"], out.shape), strict=True)
    return [inputs[0][i] * inputs[1][j] for i, j in places]


# RELATION: y = alpha a + beta b + gamma; y = a b. Modulo p one y solves each, and both sides stay below 2^62.


def affine_relation(r: Relation, attributes: Attributes) -> None:
    total = r.operand(0, attributes["a"]) * attributes["alpha"] + attributes["gamma"]
    if len(r.headers) == 2:
        total = total + r.operand(1, attributes["b"]) * attributes["beta"]
    r.zero("affine", r.header.shape, r.result() - total)


def multiply_relation(r: Relation, attributes: Attributes) -> None:
    product = Product(-1, r.operand(0, attributes["a"]), r.operand(1, attributes["b"]))
    r.zero("product", r.header.shape, r.result(), [product])


# STEP


def affine_step(attributes: Attributes, out: Header, operands: Sequence[Header], element: int, read: Read) -> int:
    index = position(out.shape, element)
    y: int = attributes["alpha"] * read(0, place(attributes["a"], index)) + attributes["gamma"]
    return y + attributes["beta"] * read(1, place(attributes["b"], index)) if len(operands) == 2 else y


def multiply_step(attributes: Attributes, out: Header, _: Sequence[Header], element: int, read: Read) -> int:
    index = position(out.shape, element)
    return read(0, place(attributes["a"], index)) * read(1, place(attributes["b"], index))


AFFINE = Primitive(19, "affine", (1, 2), FIELDS, affine_shape, affine_exact, affine_relation, affine_step, one_each)
MULTIPLY = Primitive(
    20,
    "multiply",
    (2, 2),
    MULTIPLY_FIELDS,
    multiply_shape,
    multiply_exact,
    multiply_relation,
    multiply_step,
    one_each,
)
