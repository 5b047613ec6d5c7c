"""``less`` (a < b), ``equal`` (a = b), both 0 or 1; ``select`` (condition != 0 ? a : b); ``argmax`` and ``topk``.

Ties go to the lowest index: argmax gives the first position of the largest element of a row; topk gives the k
positions in order of (value descending, index ascending).
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence

from vml.model.codec import Attributes
from vml.model.primitives.base import Exact, Primitive, check_operands
from vml.model.tensor import Header, Operand, header_for, offsets

PAIR_FIELDS = (("a", "view"), ("b", "view"))
SELECT_FIELDS = (("condition", "view"), ("a", "view"), ("b", "view"))
ROW_FIELDS = (("length", "u64"), ("x", "view"))

# SHAPE


def pair_shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    check_operands(attributes, out, operands, ("a", "b"))
    return header_for(out, 0, 1)


def select_shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    check_operands(attributes, out, operands, ("condition", "a", "b"))
    a, b = operands[1].header, operands[2].header
    return header_for(out, min(a.lo, b.lo), max(a.hi, b.hi))


def argmax_shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    if attributes["length"] < 1:
        raise ValueError("argmax of nothing")
    check_operands(attributes, (*out, attributes["length"]), operands, ("x",))
    return header_for(out, 0, attributes["length"] - 1)


def topk_shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    """The output's last loop is the rank 0..k-1; x is viewed over the other loops and then the row."""
    if not out or not 1 <= out[-1] <= attributes["length"]:
        raise ValueError(f"top {out[-1:]} of {attributes['length']}")
    check_operands(attributes, (*out[:-1], attributes["length"]), operands, ("x",))
    return header_for(out, 0, attributes["length"] - 1)


# EXACT


def _pair(compare: Callable[[int, int], bool]) -> Exact:
    def exact(attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]) -> list[int]:
        places = zip(offsets(attributes["a"], out.shape), offsets(attributes["b"], out.shape), strict=True)
        return [int(compare(inputs[0][i], inputs[1][j])) for i, j in places]

    return exact


def select_exact(
    attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]
) -> list[int]:
    condition, a, b = inputs
    places = zip(*(offsets(attributes[name], out.shape) for name in ("condition", "a", "b")), strict=True)
    return [a[i] if condition[c] else b[j] for c, i, j in places]


def _rows(attributes: Attributes, loops: tuple[int, ...], x: Sequence[int]) -> list[list[int]]:
    places = offsets(attributes["x"], (*loops, attributes["length"]))
    rows = 1
    for n in loops:
        rows *= n
    return [[x[i] for i in itertools.islice(places, attributes["length"])] for _ in range(rows)]


def argmax_exact(
    attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]
) -> list[int]:
    return [row.index(max(row)) for row in _rows(attributes, out.shape, inputs[0])]


def topk_exact(attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]) -> list[int]:
    rows = _rows(attributes, out.shape[:-1], inputs[0])
    return [i for row in rows for i in sorted(range(len(row)), key=lambda j: (-row[j], j))[: out.shape[-1]]]


LESS = Primitive(25, "less", (2, 2), PAIR_FIELDS, pair_shape, _pair(operator.lt))
EQUAL = Primitive(26, "equal", (2, 2), PAIR_FIELDS, pair_shape, _pair(operator.eq))
SELECT = Primitive(27, "select", (3, 3), SELECT_FIELDS, select_shape, select_exact)
ARGMAX = Primitive(28, "argmax", (1, 1), ROW_FIELDS, argmax_shape, argmax_exact)
TOPK = Primitive(29, "topk", (1, 1), ROW_FIELDS, topk_shape, topk_exact)
