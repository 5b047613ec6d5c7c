"""``less`` (a < b), ``equal`` (a = b), both 0 or 1; ``select`` (condition != 0 ? a : b); ``argmax`` and ``topk``.

Ties go to the lowest index: argmax gives the first position of the largest element of a row; topk gives the k
positions in order of (value descending, index ascending).
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from vml.model.codec import Attributes, View
from vml.model.primitives.base import (
    Exact,
    Primitive,
    Read,
    Step,
    StepCost,
    Walk,
    check_operands,
    one_each,
    place,
    places,
    position,
)
from vml.model.primitives.shared import is_nonnegative, is_nonzero
from vml.model.relation import ONE, Evaluate, Expression, Product, Relation
from vml.model.tensor import Header, Operand, header_for, offsets, row_major

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


# RELATION
#
# less: y = [b - a - 1 >= 0]. equal: 1 - y = [a - b != 0]. select: y = z (a - b) + b with z = [condition != 0].
#
# argmax is topk with k = 1. The keys (x - lo) N - position are distinct. For each rank j there are numbers s_jn with
# sum over n 1 and s_jn (w_j - key_n) = 0. Some s_jn is not 0, so w_j is the key of one position; s_jn = 1 there and 0
# elsewhere, and y_j = sum_n n s_jn. The w_j fall strictly, so t_n = sum_j s_jn is 1 at the chosen positions and 0 at
# the others, and (1 - t_n) (w_last - key_n) >= 0: no other key lies above the last. All differences stay below
# N (hi - lo + 1).


def less_relation(r: Relation, attributes: Attributes) -> None:
    a, b = r.headers
    difference = r.operand(1, attributes["b"]) - r.operand(0, attributes["a"]) - 1
    is_nonnegative(r, "less", r.header.shape, difference, (b.lo - a.hi - 1, b.hi - a.lo - 1), r.result())


def equal_relation(r: Relation, attributes: Attributes) -> None:
    a, b = r.headers
    difference = r.operand(0, attributes["a"]) - r.operand(1, attributes["b"])
    is_nonzero(r, "different", r.header.shape, difference, (a.lo - b.hi, a.hi - b.lo), 1 - r.result())


def select_relation(r: Relation, attributes: Attributes) -> None:
    out, header = r.header.shape, r.headers[0]
    condition, a, b = (r.operand(k, attributes[name]) for k, name in enumerate(("condition", "a", "b")))
    first = is_nonzero(r, "condition holds", out, condition, (header.lo, header.hi))
    r.zero("the chosen one", out, r.result() - b, [Product(-1, first, a - b)])


def argmax_relation(r: Relation, attributes: Attributes) -> None:
    _largest(r, r.header.shape, 1, attributes["length"], attributes["x"])


def topk_relation(r: Relation, attributes: Attributes) -> None:
    _largest(r, r.header.shape[:-1], r.header.shape[-1], attributes["length"], attributes["x"])


def _largest(r: Relation, rows: tuple[int, ...], k: int, length: int, view: View) -> None:
    """The output, over (*rows, k), holds the positions of the k largest of each row of ``length``."""
    ranks, row, grid = (*rows, k), (*rows, length), (*rows, k, length)
    lo, spread = r.headers[0].lo, length * (r.headers[0].hi - r.headers[0].lo + 1)
    r.no_wrap(2 * spread)

    def position(before: int, after: int) -> Expression:
        return r.public([*[None] * (len(rows) + before), "index", *[None] * after])

    def key(before: int = 0, after: int = 0) -> Expression:
        """Over the rows, further loops, the positions, further loops."""
        strides = (*view.strides[:-1], *[0] * before, view.strides[-1], *[0] * after)
        return (r.operand(0, View(view.offset, strides)) - lo) * length - position(before, after)

    def winners(evaluate: Evaluate) -> Any:
        import numpy as np

        return np.sort(evaluate(key(), r.loops(row)), axis=-1)[..., ::-1][..., :k]

    winner = r.witness("keys of the largest", ranks, winners)
    chosen = r.witness(
        "places of the largest", grid, lambda evaluate: winners(evaluate)[..., None] == evaluate(key(1), r.loops(grid))
    )
    choice, at_rank, at_place = r.read(chosen, len(grid)), row_major(ranks), row_major(grid)
    r.zero("each rank has one place", ranks, -1 * ONE, [Product(1, choice, ONE)], (length,))
    r.zero("the key is that of the place", grid, 0, [Product(1, choice, r.read(winner, len(grid)) - key(1))])
    y = r.result(View(0, at_rank))
    r.zero("the result is the place", ranks, y, [Product(-1, choice, position(1, 0))], (length,))
    if k > 1:
        fall = r.read_through(winner, View(0, at_rank)) - r.read_through(winner, View(1, at_rank)) - 1
        r.nonnegative("keys fall", (*rows, k - 1), fall, spread, spread)
    if k < length:
        last = r.read_through(winner, View(k - 1, (*at_rank[:-1], 0)))
        wide = r.read_through(winner, View(k - 1, (*at_rank[:-1], 0, 0))) - key(0, 1)
        taken = Product(-1, r.read_through(chosen, View(0, (*at_place[:-2], 1, length))), wide)
        if k == 1:  # the key of the place itself may be compared too
            r.nonnegative("no key is larger", row, last - key(), spread, spread)
        else:
            r.nonnegative("no other key is larger", row, last - key(), spread, spread, [taken], (k,))


# STEP. select reads both choices, so that the leaves it needs do not depend on the condition.


def _pair_step(compare: Callable[[int, int], bool]) -> Step:
    def step(attributes: Attributes, out: Header, _: Sequence[Header], element: int, read: Read) -> int:
        index = position(out.shape, element)
        return int(compare(read(0, place(attributes["a"], index)), read(1, place(attributes["b"], index))))

    return step


def select_step(attributes: Attributes, out: Header, _: Sequence[Header], element: int, read: Read) -> int:
    index = position(out.shape, element)
    views = enumerate(("condition", "a", "b"))
    condition, a, b = (read(k, place(attributes[name], index)) for k, name in views)
    return a if condition else b


def _ranked(attributes: Attributes, loops: Sequence[int], rank: int, read: Read) -> int:
    """The position of the element of a row that comes at this rank."""
    row = [read(0, i) for i in places(attributes["x"], loops, (attributes["length"],))]
    return sorted(range(len(row)), key=lambda j: (-row[j], j))[rank]


def argmax_step(attributes: Attributes, out: Header, _: Sequence[Header], element: int, read: Read) -> int:
    return _ranked(attributes, position(out.shape, element), 0, read)


def topk_step(attributes: Attributes, out: Header, _: Sequence[Header], element: int, read: Read) -> int:
    *loops, rank = position(out.shape, element)
    return _ranked(attributes, loops, rank, read)


def argmax_cost(attributes: Attributes, _: Header, __: Sequence[Header]) -> Sequence[StepCost]:
    length = attributes["length"]
    return (StepCost(length, (Walk(0, (length,), attributes["x"].strides[-1:]),)),)


def topk_cost(attributes: Attributes, out: Header, _: Sequence[Header]) -> Sequence[StepCost]:
    """One pass over the row for each rank."""
    length = attributes["length"]
    return (StepCost(length * out.shape[-1], (Walk(0, (length,), attributes["x"].strides[-1:]),)),)


LESS = Primitive(
    25, "less", (2, 2), PAIR_FIELDS, pair_shape, _pair(operator.lt), less_relation, _pair_step(operator.lt), one_each
)
EQUAL = Primitive(
    26, "equal", (2, 2), PAIR_FIELDS, pair_shape, _pair(operator.eq), equal_relation, _pair_step(operator.eq), one_each
)
SELECT = Primitive(
    27, "select", (3, 3), SELECT_FIELDS, select_shape, select_exact, select_relation, select_step, one_each
)
ARGMAX = Primitive(
    28, "argmax", (1, 1), ROW_FIELDS, argmax_shape, argmax_exact, argmax_relation, argmax_step, argmax_cost
)
TOPK = Primitive(29, "topk", (1, 1), ROW_FIELDS, topk_shape, topk_exact, topk_relation, topk_step, topk_cost)
