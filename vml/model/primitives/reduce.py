"""``reduce_sum`` and ``reduce_max``: over the reduced loops of a view (overlapping strides are pooling windows)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from vml.model.codec import Attributes
from vml.model.primitives.base import Exact, Primitive, check_operands
from vml.model.tensor import VALUE_LIMIT, Header, Operand, header_for, offsets

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


REDUCE_SUM = Primitive(23, "reduce_sum", (1, 1), FIELDS, sum_shape, _reducer(sum))
REDUCE_MAX = Primitive(24, "reduce_max", (1, 1), FIELDS, max_shape, _reducer(max))
