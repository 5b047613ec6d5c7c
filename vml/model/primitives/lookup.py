"""``lookup``: y = T[x - base], T a constant tensor. The static range of x must lie inside the table."""

from __future__ import annotations

from collections.abc import Sequence

from vml.model.codec import Attributes
from vml.model.primitives.base import Primitive, Read, check_operands, one_each, place, position
from vml.model.relation import Relation
from vml.model.tensor import Header, Operand, header_for, offsets

FIELDS = (("x", "view"), ("base", "i64"))

# SHAPE


def shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    x, table = operands
    check_operands(attributes, out, (x,), ("x",))
    if table.values is None:
        raise ValueError("a table is a constant")
    first, last = x.header.lo - attributes["base"], x.header.hi - attributes["base"]
    if first < 0 or last >= table.header.size:
        raise ValueError(f"positions {first}..{last} leave a table of {table.header.size}")
    used = table.values.reshape(-1)[first : last + 1]
    return header_for(out, int(used.min()), int(used.max()))


# EXACT


def exact(attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]) -> list[int]:
    x, table = inputs
    return [table[x[i] - attributes["base"]] for i in offsets(attributes["x"], out.shape)]


# RELATION: (x, y) is a row of the table. Its keys base, base + 1, ... are distinct, so one y is possible for each x.


def relation(r: Relation, attributes: Attributes) -> None:
    table = r.value_table(1, attributes["base"])
    r.look_up("row of the table", r.header.shape, table, r.operand(0, attributes["x"]), r.result())


# STEP: a position outside the table, which only an x outside its range has, counts as the nearest one inside.


def step(attributes: Attributes, out: Header, operands: Sequence[Header], element: int, read: Read) -> int:
    row = read(0, place(attributes["x"], position(out.shape, element))) - attributes["base"]
    return read(1, max(0, min(operands[1].size - 1, row)))


LOOKUP = Primitive(18, "lookup", (2, 2), FIELDS, shape, exact, relation, step, one_each)
