"""What a primitive's RELATION section says to a proof system: linear and bilinear equations, and lookups.

A **column** is a tensor of field elements that the prover has committed to: the output of a node, or a further
witness such as a remainder. A **statement** is about every position of its loops, sizes n_0, n_1, ...; it reads
columns through views over those loops. Three kinds of statement are enough for every primitive:

    constraint   for all o:   L(o) + sum over products of c * sum_k A(o, k) * B(o, k) = 0
    lookup       for all o:   (key(o), value(o)) is a row of a table
    table        row i is (first + i, value(i)); the prover commits to how often each row is looked up

L, A, B, key, value are **expressions**: sums of integer coefficients times reads of columns or public numbers.
All equations hold modulo p = 2^64 - 2^32 + 1; a relation bounds every side below p (`Relation.no_wrap`), so that they
hold over the integers.

Every statement has one loop more than the primitive's own: the first one runs over the batch of inputs. A constant
is read with stride 0 there, so one copy of the weights serves the whole batch.

A relation is built from a graph alone, so prover and verifier build the same one. What only the prover runs are the
``compute`` functions of the witness columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from vml.errors import UnsupportedModel
from vml.model.codec import View
from vml.model.tensor import Header, row_major

if TYPE_CHECKING:
    import numpy as np

MODULUS = (1 << 64) - (1 << 32) + 1
"""Of the field that relations hold in."""

LIMB_BITS = 16
LIMB = 1 << LIMB_BITS
RANGE_TABLE = 0
"""Identifier of the table whose rows are 0..2^16 - 1, without values."""

Step = int | tuple[int, ...]
Factor = tuple[int, ...] | Literal["index"] | None


@dataclass(frozen=True)
class Read:
    """A column seen through a view over the statement's loops.

    Attributes:
        column: index in the system's columns.
        offset: into the column's row-major elements.
        steps: for each loop a stride, or the contribution of each of its positions (-1: nothing is read there).
    """

    column: int
    offset: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Public:
    """Numbers both sides know: the product of one factor for each loop.

    Attributes:
        factors: for each loop None (1), "index" (the position itself) or one number for each position; no factors
            at all is the constant 1 over any loops.
    """

    factors: tuple[Factor, ...] = ()


@dataclass(frozen=True)
class Expression:
    """A sum of integers times reads and public numbers; supports +, - and * with integers."""

    terms: tuple[tuple[int, Read | Public], ...]

    def __add__(self, other: Expression | int) -> Expression:
        return Expression(self.terms + _expression(other).terms)

    def __sub__(self, other: Expression | int) -> Expression:
        return self + _expression(other) * -1

    def __rsub__(self, other: int) -> Expression:
        return _expression(other) - self

    def __mul__(self, factor: int) -> Expression:
        return Expression(tuple((coefficient * factor, term) for coefficient, term in self.terms if factor))

    __radd__, __rmul__ = __add__, __mul__


def _expression(value: Expression | int) -> Expression:
    return value if isinstance(value, Expression) else Expression(((value, Public()),) if value else ())


ONE = _expression(1)
"""The number 1 at every position."""


@dataclass(frozen=True)
class Product:
    """``coefficient * sum_k a * b``, k over the constraint's contracted loops."""

    coefficient: int
    a: Expression
    b: Expression


@dataclass(frozen=True)
class Constraint:
    """For every position of ``loops``: linear + products = 0. Products are over ``loops`` and then ``contract``."""

    node: int
    name: str
    loops: tuple[int, ...]
    contract: tuple[int, ...]
    linear: Expression
    products: tuple[Product, ...]


@dataclass(frozen=True)
class Lookup:
    """For every position of ``loops``: (key, value) is a row of the table."""

    node: int
    name: str
    loops: tuple[int, ...]
    table: int
    key: Expression
    value: Expression | None


@dataclass(frozen=True)
class Table:
    """Rows (first + i, value[i]), i in row-major order over ``loops``; ``multiplicity`` is a column of that shape."""

    identifier: int
    first: int
    loops: tuple[int, ...]
    value: Read | None
    multiplicity: int


Evaluate = Callable[[Expression, Sequence[int]], "np.ndarray"]
Compute = Callable[[Evaluate], Any]


@dataclass(frozen=True)
class Column:
    """A committed tensor.

    Attributes:
        name: for messages. node: which node brought it. shape: its dimensions.
        constant: part of the model (committed in set-up), not of one run.
        compute: for witness columns: values of ``shape`` from an evaluator of expressions over the columns before it,
            int64, a negative one for its residue; None for outputs of nodes and for multiplicities.
        limb: which 16 bits of those values the column holds; None: all of them.
    """

    name: str
    node: int
    shape: tuple[int, ...]
    constant: bool
    compute: Compute | None = None
    limb: int | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass
class System:
    """Every statement about one graph, for ``batch`` inputs at once."""

    batch: int
    columns: list[Column] = field(default_factory=list)
    constraints: list[Constraint] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)
    tables: dict[int, Table] = field(default_factory=dict)
    _of_constant: dict[tuple[int, int], int] = field(default_factory=dict)

    def add_column(self, column: Column) -> int:
        self.columns.append(column)
        return len(self.columns) - 1

    def range_table(self) -> int:
        """The table of 0..2^16 - 1."""
        if RANGE_TABLE not in self.tables:
            loops = (2,) * LIMB_BITS
            column = self.add_column(Column("multiplicity of the range", -1, loops, constant=False))
            self.tables[RANGE_TABLE] = Table(RANGE_TABLE, 0, loops, None, column)
        return RANGE_TABLE

    def value_table(self, column: int, first: int) -> int:
        """The table whose values are a column in row-major order; row 0 has the key ``first``."""
        if (column, first) not in self._of_constant:
            shape, identifier = self.columns[column].shape, 1 + len(self._of_constant)
            name = f"multiplicity of {self.columns[column].name}"
            counts = self.add_column(Column(name, self.columns[column].node, shape, constant=False))
            read = Read(column, 0, row_major(shape))
            self.tables[identifier] = Table(identifier, first, shape, read, counts)
            self._of_constant[column, first] = identifier
        return self._of_constant[column, first]


class Relation:
    """What a RELATION section builds with: the statements of one node. Loops do not mention the batch.

    Args:
        system: receives columns and statements.
        node: index of the node. name: for messages.
        header: of the output. headers: of the operands.
        columns: of the output and then of the operands.
    """

    def __init__(
        self, system: System, node: int, name: str, header: Header, headers: Sequence[Header], columns: Sequence[int]
    ) -> None:
        self.system, self.node, self.name = system, node, name
        self.header, self.headers = header, tuple(headers)
        self._columns = tuple(columns)

    # Expressions.

    def result(self, view: View | None = None) -> Expression:
        """The output, element by element, or through a view over further loops."""
        view = View(0, row_major(self.header.shape)) if view is None else view
        return self._read(self._columns[0], view.offset, view.strides)

    def operand(self, index: int, view: View) -> Expression:
        """Operand number ``index`` through a view."""
        return self._read(self._columns[1 + index], view.offset, view.strides)

    def mapped(self, index: int, offset: int, maps: Sequence[Step]) -> Expression:
        """Operand number ``index`` through position maps, one for each loop; -1 reads nothing, which counts as 0."""
        return self._read(self._columns[1 + index], offset, tuple(maps))

    def result_part(self, offset: int, steps: Sequence[Step]) -> Expression:
        """Part of the output, through steps over loops of the caller's."""
        return self._read(self._columns[0], offset, tuple(steps))

    def read(self, column: int, loops: int) -> Expression:
        """A witness column of this relation whose own loops are the first of ``loops`` loops."""
        shape = self.system.columns[column].shape[1:]
        return self._read(column, 0, (*row_major(shape), *[0] * (loops - len(shape))))

    def read_through(self, column: int, view: View) -> Expression:
        """A witness column of this relation through a view."""
        return self._read(column, view.offset, view.strides)

    def address(self, index: int, view: View) -> Expression:
        """Where a view of operand number ``index`` reads: the key of that row in its value table, first key 0."""
        column = self.system.columns[self._columns[1 + index]]
        strides = (0 if column.constant else math.prod(column.shape[1:]), *view.strides)
        expression = _expression(view.offset)
        for loop, stride in enumerate(strides):
            factors: list[Factor] = [None] * len(strides)
            factors[loop] = "index"
            expression = expression + Expression(((stride, Public(tuple(factors))),) if stride else ())
        return expression

    def public(self, factors: Sequence[Factor]) -> Expression:
        """Public numbers: the product of one factor for each loop; see `Public`."""
        return Expression(((1, Public((None, *factors))),))

    def _read(self, column: int, offset: int, steps: tuple[Step, ...]) -> Expression:
        described = self.system.columns[column]
        batch = 0 if described.constant else math.prod(described.shape[1:])
        return Expression(((1, Read(column, offset, (batch, *steps))),))

    # Witness.

    def witness(self, name: str, loops: Sequence[int], compute: Compute) -> int:
        """Commit to a further tensor over ``loops``.

        Args:
            compute: run by the prover only: from an evaluator (expression, loops) to int64 values over batch and
                loops; the evaluator's own results have the batch first too.
        """
        shape = (self.system.batch, *loops)
        return self.system.add_column(Column(f"{self.name}: {name}", self.node, shape, constant=False, compute=compute))

    def natural(
        self, name: str, loops: Sequence[int], bound: int, compute: Compute, exact: bool = False
    ) -> tuple[Expression, int]:
        """Commit to a number >= 0 for each position, in limbs of 16 bits.

        Args:
            bound: largest value an honest prover needs; 0 gives the number 0 without any column.
            exact: spend one lookup more where the bound's bits do not fill the highest limb.

        Returns:
            The number, and the largest value that is proved for it: `largest`.
        """
        limbs = [self._limb(name, loops, bound, k, compute, exact) for k in range(limb_count(bound))]
        return sum(limbs, Expression(())), largest(bound, exact)

    def _limb(
        self, name: str, loops: Sequence[int], bound: int, k: int, compute: Compute, exact: bool = False
    ) -> Expression:
        """Commit to limb k of a number up to ``bound``; the limb times its weight 2^(16 k)."""
        label = f"{self.name}: {name}, limb {k}"
        shape = (self.system.batch, *loops)
        column = self.system.add_column(Column(label, self.node, shape, False, compute, limb=k))
        limb = self.read(column, len(loops))
        self._in_range(name, loops, limb)
        if exact and k == limb_count(bound) - 1 and bound.bit_length() % LIMB_BITS:
            self._in_range(name, loops, limb * (1 << (-bound.bit_length() % LIMB_BITS)))
        return limb * (1 << (LIMB_BITS * k))

    # Statements.

    def no_wrap(self, bound: int) -> None:
        """Refuse where an equation's absolute value may reach the modulus: it would then only hold modulo p."""
        if bound >= MODULUS:
            raise UnsupportedModel(
                f"node {self.node} ({self.name}): the numbers of its equations may reach {bound}, the proof system's "
                "field ends at 2^64 - 2^32; use narrower activations or weights"
            )

    def zero(
        self,
        name: str,
        loops: Sequence[int],
        linear: Expression | int,
        products: Sequence[Product] = (),
        contract: Sequence[int] = (),
    ) -> None:
        """For every position of ``loops``: linear + products = 0 modulo p."""
        loops = (self.system.batch, *loops)
        statement = Constraint(self.node, name, loops, tuple(contract), _expression(linear), tuple(products))
        self.system.constraints.append(statement)

    def nonnegative(
        self,
        name: str,
        loops: Sequence[int],
        value: Expression,
        bound: int,
        magnitude: int,
        products: Sequence[Product] = (),
        contract: Sequence[int] = (),
        exact: bool = False,
    ) -> int:
        """For every position of ``loops``: 0 <= value + products.

        Its limbs are committed to, but for the lowest limb of a value without products: what remains of such a
        value once the others are taken off is itself looked up.

        Args:
            bound: largest value an honest prover needs.
            magnitude: largest absolute value that any prover could reach, given the other statements.
            exact: the largest value proved shall have no more bits than the bound; done without asking where
                the equation would wrap otherwise.

        Returns:
            What is proved to be the largest value: `largest`.
        """
        exact = exact or magnitude + largest(bound) >= MODULUS
        top = largest(bound, exact)
        self.no_wrap(magnitude + top)

        def compute(evaluate: Evaluate) -> Any:
            total = evaluate(value, self.loops(loops))
            for product in products:
                a, b = (evaluate(factor, self.loops((*loops, *contract))) for factor in (product.a, product.b))
                total = total + product.coefficient * (a * b).sum(tuple(range(-len(contract), 0)))
            return total

        count = limb_count(bound)
        implied = not products and count > 0
        limbs = [self._limb(name, loops, bound, k, compute, exact) for k in range(1 if implied else 0, count)]
        rest = value - sum(limbs, Expression(()))
        if not implied:
            self.zero(name, loops, rest, products, contract)
            return top
        self._in_range(name, loops, rest)
        if exact and count == 1 and bound.bit_length() % LIMB_BITS:
            self._in_range(name, loops, rest * (1 << (-bound.bit_length() % LIMB_BITS)))
        return top

    def within(self, name: str, loops: Sequence[int], value: Expression, lo: int, hi: int) -> None:
        """For every position of ``loops``: modulo p, the value is one of lo..hi."""
        # The first statement says which integer is meant by the value, so nothing needs to be known of it before.
        top = self.nonnegative(f"{name}: not too low", loops, value - lo, hi - lo, 0)
        if top != hi - lo:
            self.nonnegative(f"{name}: not too high", loops, hi - value, hi - lo, top)

    def look_up(
        self, name: str, loops: Sequence[int], table: int, key: Expression, value: Expression | None = None
    ) -> None:
        """For every position of ``loops``: (key, value) is a row of the table."""
        self.system.lookups.append(Lookup(self.node, name, self.loops(loops), table, key, value))

    def value_table(self, index: int, first: int) -> int:
        """The table whose values are operand number ``index`` in row-major order; the first key is ``first``."""
        return self.system.value_table(self._columns[1 + index], first)

    def loops(self, loops: Sequence[int]) -> tuple[int, ...]:
        """With the batch in front."""
        return (self.system.batch, *loops)

    def _in_range(self, name: str, loops: Sequence[int], value: Expression) -> None:
        self.look_up(name, loops, self.system.range_table(), value)


def limb_count(bound: int) -> int:
    """Limbs of a number up to ``bound``."""
    return -(-bound.bit_length() // LIMB_BITS)


def largest(bound: int, exact: bool = False) -> int:
    """What the limbs of a number up to ``bound`` can hold: full limbs, or, if exact, as many bits as the bound has."""
    return (1 << (bound.bit_length() if exact else LIMB_BITS * limb_count(bound))) - 1
