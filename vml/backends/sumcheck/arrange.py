"""Where every column lies in the committed matrices, and how every read moves along the axes of its column.

A column is stored as a block with one axis for each dimension, each padded to a power of two, so that the index of an
element is the concatenation of its positions' bits. A read is **placed** when every loop moves along one axis only:
the position on axis a is o_a + sum of (coefficient * loop index) over the loops of that axis, and never leaves the
axis. Then the functional

    sum over the loops of prod_l w_l(i_l) * column[view(i)]

is a product of one vector for each axis (with w_l any weights of loop l), which prover and verifier handle axis by
axis: windows of a convolution are two loops on one axis, and no window is ever copied.

Two moves make every read fit. A loop that runs through several axes (a reshape) is **split** in two, as far as sizes
divide; else two neighbouring axes are **merged** into one, at worst all of them, where any read fits. Splits are local
to a statement; merges change the column for all its readers. Both only ever refine, so this ends.

Blocks are sorted by size and lie at multiples of it: constants in the fixed matrix, all others in the witness matrix,
both with 2^log_cols entries a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from vml.model.relation import Constraint, Expression, Factor, Lookup, Public, Read, Step, System, Table
from vml.model.tensor import row_major

FIXED, WITNESS = "fixed", "witness"


class Placed(NamedTuple):
    """A read, placed.

    Attributes:
        column: which. axes: for each axis of its block the offset, and (loop, coefficient or positions) of each loop
            on it. weighed: loops on no axis, with their step: 0, or positions of which -1 counts for nothing.
    """

    column: int
    axes: tuple[tuple[int, tuple[tuple[int, Step], ...]], ...]
    weighed: tuple[tuple[int, Step], ...]


class Sum(NamedTuple):
    """An expression, placed: coefficients with placed reads or public numbers."""

    terms: tuple[tuple[int, Placed | Public], ...]


@dataclass(frozen=True)
class Block:
    """Where a column lies: which matrix, its first entry there, and the sizes of its axes, most significant first."""

    part: str
    start: int
    sizes: tuple[int, ...]

    @cached_property
    def bits(self) -> tuple[int, ...]:
        return tuple(bits_of(n) for n in self.sizes)

    @cached_property
    def log_size(self) -> int:
        return sum(self.bits)


@dataclass(frozen=True)
class PlacedConstraint:
    """A constraint over ``loops`` (split as needed), of which the last ``contracted`` only products run over."""

    source: Constraint
    loops: tuple[int, ...]
    contracted: int
    linear: Sum
    products: tuple[tuple[int, Sum, Sum], ...]


@dataclass(frozen=True)
class PlacedLookup:
    """A lookup, or a table (``multiplicity`` is then its column): ``start`` is its first leaf among the fractions."""

    source: Lookup | Table
    loops: tuple[int, ...]
    table: int
    key: Sum
    value: Sum | None
    multiplicity: Placed | None
    start: int = 0

    @property
    def log_size(self) -> int:
        return sum(bits_of(n) for n in self.loops)


@dataclass(frozen=True)
class Arrangement:
    """A system, placed. Equal for prover and verifier, who build it from the same graph.

    Attributes:
        lookups: and tables after them. boundary: loops and read of each input and then output.
        log_fractions: leaves of the lookup argument. fixed_size, witness_size: entries used of the two matrices.
    """

    system: System
    blocks: tuple[Block, ...]
    constraints: tuple[PlacedConstraint, ...]
    lookups: tuple[PlacedLookup, ...]
    boundary: tuple[tuple[tuple[int, ...], Placed], ...]
    log_fractions: int
    fixed_size: int
    witness_size: int

    @cached_property
    def default_log_cols(self) -> int:
        """Row length that makes proofs small: an opened column of both matrices costs about as much as level 2."""
        return max(4, -(-(self.fixed_size + self.witness_size).bit_length() // 2) + 3)

    def rows(self, log_cols: int) -> tuple[int, int]:
        """Rows of the fixed and of the witness matrix, at least one each."""
        return tuple(max(1, -(-size >> log_cols)) for size in (self.fixed_size, self.witness_size))  # type: ignore[return-value]


def bits_of(size: int) -> int:
    """Bits of an index below ``size``."""
    return (size - 1).bit_length()


class _Split(Exception):
    """A loop must be split so that its inner part has ``inner`` steps."""

    def __init__(self, loop: int, inner: int) -> None:
        self.loop, self.inner = loop, inner


class _Merge(Exception):
    """Axes ``axis`` - 1 and ``axis`` of a column must become one."""

    def __init__(self, column: int, axis: int) -> None:
        self.column, self.axis = column, axis


class _Statement:
    """The loops of one statement while they are being split, and its expressions."""

    def __init__(self, loops: Sequence[int], expressions: Sequence[Expression]) -> None:
        self.original = tuple(loops)
        self.parts: list[list[int]] = [[n] for n in loops]
        self.expressions = tuple(expressions)
        self.placed: tuple[Sum, ...] = ()
        self.read_columns = frozenset(
            term.column for e in self.expressions for _, term in e.terms if isinstance(term, Read)
        )
        positions = (term.steps if isinstance(term, Read) else term.factors for e in expressions for _, term in e.terms)
        self.whole = {k for steps in positions for k, step in enumerate(steps) if isinstance(step, tuple)}

    @property
    def loops(self) -> tuple[int, ...]:
        return tuple(n for part in self.parts for n in part)

    def split(self, loop: int, inner: int) -> None:
        for part in self.parts:
            if loop < len(part):
                part[loop : loop + 1] = [part[loop] // inner, inner]
                return
            loop -= len(part)

    def may_split(self, loop: int) -> bool:
        for k, part in enumerate(self.parts):
            if loop < len(part):
                return k not in self.whole
            loop -= len(part)
        raise IndexError(loop)

    def steps(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        """Steps of the original loops as steps of the split ones."""
        if len(steps) != len(self.parts):
            raise ValueError(f"a read has {len(steps)} steps for {len(self.parts)} loops")
        out: list[Step] = []
        for step, part in zip(steps, self.parts, strict=True):
            out.extend([step] if isinstance(step, tuple) else [step * inner for inner in row_major(part)])
        return tuple(out)

    def publics(self, coefficient: int, public: Public) -> Iterator[tuple[int, Public]]:
        """Public numbers over the split loops: an index of a split loop is a sum over its parts."""
        if not public.factors:
            yield coefficient, public
            return
        if len(public.factors) != len(self.parts):
            raise ValueError(f"public numbers have {len(public.factors)} factors for {len(self.parts)} loops")
        choices: list[tuple[int, tuple[Factor, ...]]] = [(coefficient, ())]
        for factor, part in zip(public.factors, self.parts, strict=True):
            if factor == "index" and len(part) > 1:
                digits: list[tuple[int, tuple[Factor, ...]]] = [
                    (stride, tuple("index" if j == k else None for j in range(len(part))))
                    for k, stride in enumerate(row_major(part))
                ]
                choices = [(c * stride, (*done, *digit)) for c, done in choices for stride, digit in digits]
            else:
                more: tuple[Factor, ...] = (factor, *[None] * (len(part) - 1))
                choices = [(c, (*done, *more)) for c, done in choices]
        yield from ((c, Public(factors)) for c, factors in choices)

    def place(self, sizes: Sequence[list[int]]) -> None:
        """Place every read, or raise what must happen first."""
        loops = self.loops
        self.placed = tuple(
            Sum(tuple(term for c, t in e.terms for term in self._place_term(c, t, loops, sizes)))
            for e in self.expressions
        )

    def _place_term(
        self, coefficient: int, term: Read | Public, loops: tuple[int, ...], sizes: Sequence[list[int]]
    ) -> Iterator[tuple[int, Placed | Public]]:
        if isinstance(term, Public):
            yield from self.publics(coefficient, term)
        else:
            yield coefficient, self._place_read(term, loops, sizes[term.column])

    def _place_read(self, read: Read, loops: tuple[int, ...], sizes: list[int]) -> Placed:
        strides = row_major(sizes)
        start = [read.offset // stride % n for stride, n in zip(strides, sizes, strict=True)]
        low, high = list(start), list(start)
        on_axis: list[list[tuple[int, Step]]] = [[] for _ in sizes]
        weighed: list[tuple[int, Step]] = []
        for loop, (n, step) in enumerate(zip(loops, self.steps(read.steps), strict=True)):
            moves = [p for p in step if p > 0] if isinstance(step, tuple) else [abs(step)] if n > 1 and step else []
            if not moves:
                weighed.append((loop, step if isinstance(step, tuple) else 0))
                continue
            unit = math.gcd(*moves)
            axis = next(a for a, stride in enumerate(strides) if stride <= unit and unit % stride == 0)
            stride, size = strides[axis], sizes[axis]
            if isinstance(step, tuple):
                reach, coefficient = max(moves) // stride, tuple(p // stride if p >= 0 else -1 for p in step)
                high[axis] += reach
            else:
                coefficient, reach = step // stride, abs(step) // stride * (n - 1)  # type: ignore[assignment]
                high[axis] += max(0, reach if step > 0 else 0)
                low[axis] -= reach if step < 0 else 0
            if reach >= size:
                inner = size // abs(coefficient) if isinstance(coefficient, int) else 0
                fits = isinstance(coefficient, int) and size % abs(coefficient) == 0
                if fits and 1 < inner < n and n % inner == 0 and self.may_split(loop):
                    raise _Split(loop, inner)
                raise _Merge(read.column, axis)
            on_axis[axis].append((loop, coefficient))
        for axis, size in enumerate(sizes):
            if low[axis] < 0 or high[axis] >= size:
                raise _Merge(read.column, max(axis, 1))
        return Placed(read.column, tuple(zip(start, map(tuple, on_axis), strict=True)), tuple(weighed))


def arrange(system: System, boundary: Sequence[int]) -> Arrangement:
    """Place a system. Deterministic: prover, verifier and set-up get the same arrangement.

    Args:
        boundary: columns of the model's inputs and then outputs, which are read element by element.
    """
    sizes = [[n for n in column.shape if n > 1] for column in system.columns]
    constraints = [
        _Statement(
            (*c.loops, *c.contract), (_widen(c.linear, len(c.contract)), *(e for p in c.products for e in (p.a, p.b)))
        )
        for c in system.constraints
    ]
    lookups = [_Statement(k.loops, [k.key] if k.value is None else [k.key, k.value]) for k in system.lookups]
    tables = [_Statement(t.loops, _table_expressions(t)) for t in system.tables.values()]
    edges = [_Statement(*_whole(system, k)) for k in boundary]
    _settle([*constraints, *lookups, *tables, *edges], sizes)
    blocks, fixed_size, witness_size = _lay_out(system, sizes)
    placed = [
        *(_placed_lookup(s, k, k.table, s.placed) for s, k in zip(lookups, system.lookups, strict=True)),
        *(
            _placed_lookup(s, t, t.identifier, s.placed[1:], s.placed[0])
            for s, t in zip(tables, system.tables.values(), strict=True)
        ),
    ]
    fractions, log_fractions = _stack(placed)
    return Arrangement(
        system,
        blocks,
        tuple(_placed_constraint(s, c) for s, c in zip(constraints, system.constraints, strict=True)),
        fractions,
        tuple((s.loops, _read_of(s.placed[0])) for s in edges),
        log_fractions,
        fixed_size,
        witness_size,
    )


def _widen(linear: Expression, contracted: int) -> Expression:
    """An expression over the output's loops as one over all loops, on which it does not depend."""

    def widen(term: Read | Public) -> Read | Public:
        if isinstance(term, Read):
            return replace(term, steps=(*term.steps, *[0] * contracted))
        return Public((*term.factors, *[None] * contracted)) if term.factors else term

    return Expression(tuple((coefficient, widen(term)) for coefficient, term in linear.terms))


def _table_expressions(table: Table) -> list[Expression]:
    """Multiplicity, key and, where there is one, value of a table over its loops."""
    key = Expression(((table.first, Public()),) if table.first else ())
    for loop, stride in enumerate(row_major(table.loops)):
        factors: list[Factor] = [None] * len(table.loops)
        factors[loop] = "index"
        key = key + Expression(((stride, Public(tuple(factors))),))
    count = Expression(((1, Read(table.multiplicity, 0, row_major(table.loops))),))
    return [count, key] if table.value is None else [count, key, Expression(((1, table.value),))]


def _whole(system: System, column: int) -> tuple[tuple[int, ...], list[Expression]]:
    """A column, element by element, for every input of the batch: loops and reads. A constant is there once."""
    shape = system.columns[column].shape
    if not system.columns[column].constant:
        return shape, [Expression(((1, Read(column, 0, row_major(shape))),))]
    return (system.batch, *shape), [Expression(((1, Read(column, 0, (0, *row_major(shape)))),))]


def _settle(statements: Sequence[_Statement], sizes: list[list[int]]) -> None:
    """Split and merge until every read of every statement is placed."""
    waiting = list(statements)
    while waiting:
        statement = waiting.pop()
        try:
            statement.place(sizes)
        except _Split as split:
            statement.split(split.loop, split.inner)
            waiting.append(statement)
        except _Merge as merge:
            axes = sizes[merge.column]
            axes[merge.axis - 1 : merge.axis + 1] = [axes[merge.axis - 1] * axes[merge.axis]]
            waiting = [s for s in statements if s in waiting or s is statement or merge.column in s.read_columns]


def _lay_out(system: System, sizes: Sequence[list[int]]) -> tuple[tuple[Block, ...], int, int]:
    blocks: list[Block] = [Block("", 0, ()) for _ in sizes]
    ends = {FIXED: 0, WITNESS: 0}
    padded = [sum(bits_of(n) for n in axes) for axes in sizes]
    for k in sorted(range(len(sizes)), key=lambda k: (-padded[k], k)):
        part = FIXED if system.columns[k].constant else WITNESS
        blocks[k] = Block(part, ends[part], tuple(sizes[k]))
        ends[part] += 1 << padded[k]
    return tuple(blocks), ends[FIXED], ends[WITNESS]


def _placed_constraint(statement: _Statement, constraint: Constraint) -> PlacedConstraint:
    contracted = sum(len(part) for part in statement.parts[len(constraint.loops) :])
    linear, *factors = statement.placed
    pairs = zip(constraint.products, factors[::2], factors[1::2], strict=True)
    products = tuple((product.coefficient, a, b) for product, a, b in pairs)
    return PlacedConstraint(constraint, statement.loops, contracted, linear, products)


def _placed_lookup(
    statement: _Statement, source: Lookup | Table, table: int, pair: Sequence[Sum], count: Sum | None = None
) -> PlacedLookup:
    multiplicity = None if count is None else _read_of(count)
    return PlacedLookup(source, statement.loops, table, pair[0], pair[1] if len(pair) > 1 else None, multiplicity)


def _read_of(single: Sum) -> Placed:
    """The only term of a sum, which is a read."""
    ((_, placed),) = single.terms
    if isinstance(placed, Public):
        raise TypeError("a column is read, not a public number")
    return placed


def _stack(lookups: Sequence[PlacedLookup]) -> tuple[tuple[PlacedLookup, ...], int]:
    """Give every lookup and table its leaves among the fractions, the largest first."""
    end, placed = 0, list(lookups)
    for k in sorted(range(len(placed)), key=lambda k: (-placed[k].log_size, k)):
        placed[k] = replace(placed[k], start=end)
        end += 1 << placed[k].log_size
    return tuple(placed), bits_of(end) if end else 0
