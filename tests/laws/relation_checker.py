"""Which statements of a system do columns violate: plain Python integers modulo p, one position after the other."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

from vml.model.relation import MODULUS, Constraint, Expression, Lookup, Read, System, Table

Columns = Sequence[Sequence[int]]
Index = tuple[int, ...]


def element(read: Read, columns: Columns, index: Index) -> int:
    """What a view sees at one position."""
    place = read.offset
    for step, i in zip(read.steps, index, strict=True):
        if isinstance(step, int):
            place += step * i
        elif step[i] < 0:
            return 0
        else:
            place += step[i]
    assert place >= 0
    return columns[read.column][place]


def value(expression: Expression, columns: Columns, index: Index) -> int:
    """An expression at one position."""
    total = 0
    for coefficient, term in expression.terms:
        if isinstance(term, Read):
            number = element(term, columns, index)
        else:
            number = 1
            for factor, i in zip(term.factors or [None] * len(index), index, strict=True):
                number *= 1 if factor is None else i if factor == "index" else factor[i]
        total += coefficient * number
    return total % MODULUS


def positions(loops: Sequence[int]) -> itertools.product[Index]:
    return itertools.product(*(range(n) for n in loops))


def holds(constraint: Constraint, columns: Columns) -> bool:
    for index in positions(constraint.loops):
        total = value(constraint.linear, columns, index)
        for product in constraint.products:
            for inner in positions(constraint.contract):
                place = (*index, *inner)
                total += product.coefficient * value(product.a, columns, place) * value(product.b, columns, place)
        if total % MODULUS:
            return False
    return True


def row_value(table: Table, columns: Columns, place: int) -> int:
    index = []
    for n in reversed(table.loops):
        place, i = divmod(place, n)
        index.append(i)
    return 0 if table.value is None else element(table.value, columns, tuple(reversed(index))) % MODULUS


def asked(lookup: Lookup, system: System, columns: Columns, counts: dict[int, Counter[int]]) -> bool:
    """Whether every row asked for is in the table; counts them by place."""
    table, found = system.tables[lookup.table], True
    for index in positions(lookup.loops):
        place = (value(lookup.key, columns, index) - table.first) % MODULUS
        wanted = 0 if lookup.value is None else value(lookup.value, columns, index)
        if place < math.prod(table.loops) and row_value(table, columns, place) == wanted:
            counts[lookup.table][place] += 1
        else:
            found = False
    return found


def violated(system: System, columns: Columns, multiplicities: bool = True) -> list[str]:
    """Names of the statements that do not hold.

    Args:
        columns: flat, one list for each column of the system.
        multiplicities: whether what the multiplicity columns say is compared with the lookups too.
    """
    assert [len(flat) for flat in columns] == [column.size for column in system.columns]
    counts: dict[int, Counter[int]] = {identifier: Counter() for identifier in system.tables}
    names = [c.name for c in system.constraints if not holds(c, columns)]
    names += [lookup.name for lookup in system.lookups if not asked(lookup, system, columns, counts)]
    for identifier, table in system.tables.items() if multiplicities else ():
        said = columns[table.multiplicity]
        if {k: n for k, n in enumerate(said) if n} != dict(counts[identifier]):
            names.append(f"multiplicities of table {identifier}")
    return names
