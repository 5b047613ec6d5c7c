"""``reduce_sum`` and ``reduce_max``: over the reduced loops of a view (overlapping strides are pooling windows)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from vml.model.codec import Attributes, View
from vml.model.primitives.base import Exact, Primitive, Read, Step, StepCost, Walk, check_operands, places, position
from vml.model.relation import ONE, Evaluate, Product, Relation
from vml.model.tensor import VALUE_LIMIT, Header, Operand, header_for, offsets, row_major

FIELDS = (("reduced", "dims"), ("x", "view"))

# SHAPE


def _check(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> int:
    check_operands(attributes, (*out, *attributes["reduced"]), operands, ("x",))
    terms = math.prod(attributes["reduced"])
    if terms < 1:
        raise ValueError("nothing to reduce")
    return terms


def sum_shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    terms, x = _check(attributes, out, operands), operands[0].header
    if terms * x.bound >= VALUE_LIMIT:
        raise ValueError(f"a sum may reach {terms * x.bound}, the limit is 2^62")
    return header_for(out, terms * x.lo, terms * x.hi)


def max_shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    _check(attributes, out, operands)
    return header_for(out, operands[0].header.lo, operands[0].header.hi)


# EXACT


def _reducer(fold: Callable[[Sequence[int]], int]) -> Exact:
    def exact(attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]) -> list[int]:
        terms = math.prod(attributes["reduced"])
        places = offsets(attributes["x"], (*out.shape, *attributes["reduced"]))
        return [fold([inputs[0][i] for i in itertools.islice(places, terms)]) for _ in range(out.size)]

    return exact


# RELATION
#
# reduce_sum: y = sum_k x_k, one solution modulo p.
# reduce_max: y - x_k >= 0 for all k, and numbers s_k with sum 1 such that s_k (y - x_k) = 0. Some s_k is not 0, so y
# is one of the x_k; no x_k lies above it. So y is unique and all differences stay within the range of x. The s_k are
# free where several x_k are largest.


def sum_relation(r: Relation, attributes: Attributes) -> None:
    terms = Product(-1, r.operand(0, attributes["x"]), ONE)
    r.zero("sum", r.header.shape, r.result(), [terms], attributes["reduced"])


def max_relation(r: Relation, attributes: Attributes) -> None:
    out, reduced = r.header.shape, attributes["reduced"]
    loops, x = (*out, *reduced), r.operand(0, attributes["x"])
    difference = r.result(View(0, (*row_major(out), *[0] * len(reduced)))) - x
    spread = r.headers[0].hi - r.headers[0].lo

    def largest(evaluate: Evaluate) -> Any:
        import numpy as np

        rows = evaluate(x, r.loops(loops)).reshape(-1, math.prod(reduced))
        chosen = np.zeros(rows.shape, dtype=np.int64)
        np.put_along_axis(chosen, rows.argmax(axis=1)[:, None], 1, axis=1)
        return chosen.reshape(r.loops(loops))

    chosen = r.read(r.witness("which is largest", loops, largest), len(loops))
    r.zero("one is chosen", out, -1 * ONE, [Product(1, chosen, ONE)], reduced)
    r.zero("the result is the chosen one", loops, 0, [Product(1, chosen, difference)])
    r.nonnegative("none is larger", loops, difference, spread, spread)


# STEP: one fold.


def _step(fold: Callable[[Sequence[int]], int]) -> Step:
    def step(attributes: Attributes, out: Header, _: Sequence[Header], element: int, read: Read) -> int:
        return fold([read(0, i) for i in places(attributes["x"], position(out.shape, element), attributes["reduced"])])

    return step


def cost(attributes: Attributes, out: Header, _: Sequence[Header]) -> Sequence[StepCost]:
    reduced = attributes["reduced"]
    return (StepCost(math.prod(reduced), (Walk(0, reduced, attributes["x"].strides[len(out.shape) :]),)),)


REDUCE_SUM = Primitive(23, "reduce_sum", (1, 1), FIELDS, sum_shape, _reducer(sum), sum_relation, _step(sum), cost)
REDUCE_MAX = Primitive(24, "reduce_max", (1, 1), FIELDS, max_shape, _reducer(max), max_relation, _step(max), cost)
