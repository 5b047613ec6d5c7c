"""Everything that is proved in the end: linear claims about the committed columns.

Lookups, products and constraints all reduce to claims of one shape,

    sum over terms of c * (sum over the loops of prod_l w_l(i_l) * column[view(i)])  =  value,

which this module makes (prover and verifier alike) and whose left side, as a multilinear polynomial in the position
within a committed matrix, it evaluates at any point: for a placed read that is eq of the block's position times one
short sum for each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vml.backends.sumcheck.arrange import Arrangement, Placed, PlacedConstraint, Sum
from vml.backends.sumcheck.weights import Point, Weight, axis_value
from vml.field.goldilocks import ONE, ZERO, Ext, add, dot, dot_base, from_int, mul, neg, scale, sub
from vml.model.relation import Public

Weights = Sequence[Weight | None]
"""One for each loop of a statement; None leaves a loop out that the read does not move along."""


class Term(NamedTuple):
    """``coefficient`` times the weighted sum of one placed read."""

    coefficient: Ext
    read: Placed
    weights: tuple[Weight | None, ...]


@dataclass(frozen=True)
class LinearClaim:
    """The sum of the terms is ``value``. ``name`` is for messages."""

    name: str
    terms: tuple[Term, ...]
    value: Ext


def split(expression: Sum, weights: Weights, factor: Ext = ONE) -> tuple[list[Term], Ext]:
    """The weighted sum of an expression over its loops: what depends on columns, and the public rest."""
    terms, public = [], ZERO
    for coefficient, term in expression.terms:
        scaled = scale(factor, from_int(coefficient))
        if isinstance(term, Public):
            public = add(public, mul(scaled, _public(term, weights)))
        else:
            terms.append(Term(scaled, term, tuple(weights)))
    return terms, public


def _public(term: Public, weights: Weights) -> Ext:
    result = ONE
    for k, weight in enumerate(weights):
        if weight is not None:
            result = mul(result, weight.times(term.factors[k] if term.factors else None))
    return result


# Lookups.


def fraction_claims(
    arrangement: Arrangement, alpha: Ext, beta: Ext, point: Sequence[Ext], numerator: Ext, denominator: Ext
) -> tuple[LinearClaim, LinearClaim]:
    """What the leaves of the lookup argument must be at ``point``.

    A lookup's leaves are 1 / (alpha - fingerprint) where its loops run, 0 / (alpha - beta^2 * table) in the padding; a
    table's are -multiplicity / (alpha - fingerprint); leaves that belong to nobody are 0 / 1. The fingerprint is
    key + beta * value + beta^2 * table.
    """
    above: list[Term] = []
    below: list[Term] = []
    public_above, public_below, unused = ZERO, ZERO, ONE
    for lookup in arrangement.lookups:
        here = block_weight(lookup.start >> lookup.log_size, point[: len(point) - lookup.log_size])
        weights = Point(point[len(point) - lookup.log_size :]).weights(lookup.loops)
        unused = sub(unused, here)
        if lookup.multiplicity is None:
            public_above = add(public_above, mul(here, _public(Public(), weights)))
        else:
            above.append(Term(neg(here), lookup.multiplicity, weights))
        offset = sub(alpha, scale(mul(beta, beta), lookup.table))
        public_below = add(public_below, mul(here, offset))
        for factor, expression in ((neg(here), lookup.key), (neg(mul(here, beta)), lookup.value)):
            if expression is not None:
                terms, public = split(expression, weights, factor)
                below.extend(terms)
                public_below = add(public_below, public)
    return (
        LinearClaim("lookup numerators", tuple(above), sub(numerator, public_above)),
        LinearClaim("lookup denominators", tuple(below), sub(denominator, add(public_below, unused))),
    )


def block_weight(index: int, point: Sequence[Ext]) -> Ext:
    """eq(point, index)."""
    result = ONE
    for k, z in enumerate(point):
        result = mul(result, z if index >> (len(point) - 1 - k) & 1 else sub(ONE, z))
    return result


# Constraints.


@dataclass(frozen=True)
class ProductShape:
    """How one product of a constraint is summed.

    Loops that only one factor moves along are folded into it beforehand; the sumcheck runs over the shared ones.

    Attributes:
        constraint: index. coefficient: in the constraint. a, b: the factors.
        shared: loops of the sumcheck. base: weight of every loop: eq(r, .) for the output's, 1 for contracted ones.
        folded_a, folded_b: weights of the loops folded into each factor; None where the loop is not its own.
    """

    constraint: int
    coefficient: int
    a: Sum
    b: Sum
    loops: tuple[int, ...]
    shared: tuple[int, ...]
    base: tuple[Weight, ...]
    folded_a: tuple[Weight | None, ...]
    folded_b: tuple[Weight | None, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Steps of the shared loops."""
        return tuple(self.loops[k] for k in self.shared)

    @property
    def num_vars(self) -> int:
        return sum((n - 1).bit_length() for n in self.sizes)

    def weight(self, point: Sequence[Ext]) -> Ext:
        """The multilinear extension of the shared loops' weights at a point of ``num_vars`` challenges."""
        result, at = ONE, 0
        for k in self.shared:
            bits = (self.loops[k] - 1).bit_length()
            result = mul(result, self.base[k].against(point[at : at + bits]))
            at += bits
        return result

    def claims(self, point: Sequence[Ext], a: Ext, b: Ext) -> tuple[LinearClaim, LinearClaim]:
        """The two factors' values at ``point`` as claims about columns."""
        shared = dict(zip(self.shared, Point(point).weights(self.sizes), strict=True))
        made = []
        for factor, folded, value in ((self.a, self.folded_a, a), (self.b, self.folded_b, b)):
            weights = [shared.get(k, weight) for k, weight in enumerate(folded)]
            terms, public = split(factor, weights)
            made.append(LinearClaim(f"factor of constraint {self.constraint}", tuple(terms), sub(value, public)))
        return made[0], made[1]


def product_shapes(arrangement: Arrangement, point: Point) -> tuple[ProductShape, ...]:
    """Every product of every constraint, in order."""
    ones = Ones()
    shapes = []
    for index, constraint in enumerate(arrangement.constraints):
        outer = len(constraint.loops) - constraint.contracted
        base = (*point.weights(constraint.loops[:outer]), *(ones[n] for n in constraint.loops[outer:]))
        for coefficient, a, b in constraint.products:
            in_a, in_b = moving(a), moving(b)
            shared = tuple(k for k in range(len(base)) if k in in_a and k in in_b)
            folded_a = tuple(w if k not in in_b else None for k, w in enumerate(base))
            folded_b = tuple(w if k in in_b and k not in in_a else None for k, w in enumerate(base))
            shapes.append(ProductShape(index, coefficient, a, b, constraint.loops, shared, base, folded_a, folded_b))
    return tuple(shapes)


class Ones(dict[int, Weight]):
    """The weights 1 of loops, one object for each size."""

    def __missing__(self, size: int) -> Weight:
        self[size] = Weight(size)
        return self[size]


def moving(expression: Sum) -> frozenset[int]:
    """The loops that an expression depends on."""
    loops: set[int] = set()
    for _, term in expression.terms:
        if isinstance(term, Public):
            loops.update(k for k, factor in enumerate(term.factors) if factor is not None)
        else:
            loops.update(loop for _, moves in term.axes for loop, _ in moves)
            loops.update(loop for loop, step in term.weighed if isinstance(step, tuple))
    return frozenset(loops)


def constraint_claims(
    arrangement: Arrangement, point: Point, shapes: Sequence[ProductShape], values: Sequence[Ext]
) -> list[LinearClaim]:
    """linear(r) + sum of coefficient * value over its products = 0, for every constraint."""
    products: list[Ext] = [ZERO] * len(arrangement.constraints)
    for shape, value in zip(shapes, values, strict=True):
        products[shape.constraint] = add(products[shape.constraint], scale(value, from_int(shape.coefficient)))
    claims = []
    for constraint, product in zip(arrangement.constraints, products, strict=True):
        terms, public = split(constraint.linear, outer_weights(constraint, point))
        claims.append(LinearClaim(constraint.source.name, tuple(terms), neg(add(public, product))))
    return claims


def outer_weights(constraint: PlacedConstraint, point: Point) -> tuple[Weight | None, ...]:
    outer = len(constraint.loops) - constraint.contracted
    return (*point.weights(constraint.loops[:outer]), *[None] * constraint.contracted)


# Inputs and outputs.


def boundary_claims(arrangement: Arrangement, point: Point, tensors: Sequence[Sequence[int]]) -> list[LinearClaim]:
    """Each input's and output's column is the claimed tensor, at the constraints' random point.

    Args:
        tensors: codes of every boundary column, batch first, flat.
    """
    claims = []
    for (loops, read), codes in zip(arrangement.boundary, tensors, strict=True):
        weights = point.weights(loops)
        claims.append(LinearClaim("boundary", (Term(ONE, read, weights),), weighted_sum(codes, weights)))
    return claims


def weighted_sum(codes: Sequence[int], weights: Sequence[Weight]) -> Ext:
    """Sum over all positions of the product of weights times codes, flat in row-major order."""
    last = weights[-1]
    row = last.values
    n = len(row)
    if len(codes) % n:
        raise ValueError(f"{len(codes)} codes do not make rows of {n}")
    level = [dot_base(row, codes[k : k + n]) for k in range(0, len(codes), n)]
    for weight in reversed(weights[:-1]):
        n = weight.size
        level = [dot(weight.values, level[k : k + n]) for k in range(0, len(level), n)]
    if len(level) != 1:
        raise ValueError("the weights do not cover the codes")
    return level[0]


# The verifier's evaluation.


def evaluate(arrangement: Arrangement, terms: Sequence[Term], part: str, point: Sequence[Ext]) -> Ext:
    """The terms' functional on one matrix, as a multilinear polynomial in the position, at ``point``.

    Args:
        point: row and then column variables of the matrix, most significant first.
    """
    sums: dict[int, Ext] = {}
    tables: dict[tuple[int, int], list[Ext]] = {}
    known: dict[object, Ext] = {}
    for term in terms:
        block = arrangement.blocks[term.read.column]
        if block.part != part:
            continue
        value = mul(term.coefficient, weighed(term))
        at = len(point) - block.log_size
        for (offset, moves), size, bits in zip(term.read.axes, block.sizes, block.bits, strict=True):
            key = (at, size, offset, moves, tuple(id(term.weights[loop]) for loop, _ in moves))
            if key not in known:
                table = tables.setdefault((at, bits), [])
                known[key] = axis_value(offset, moves, term.weights, size, point[at : at + bits], table)
            value = mul(value, known[key])
            at += bits
        column = term.read.column
        sums[column] = add(sums[column], value) if column in sums else value
    total = ZERO
    for column, value in sums.items():
        block = arrangement.blocks[column]
        prefix = point[: len(point) - block.log_size]
        total = add(total, mul(value, block_weight(block.start >> block.log_size, prefix)))
    return total


def weighed(term: Term) -> Ext:
    """What the loops contribute that the read does not move along."""
    result = ONE
    for loop, step in term.read.weighed:
        weight = term.weights[loop]
        if weight is not None:
            result = mul(result, weight.total(step))
    return result


def combine(claims: Sequence[LinearClaim], gamma: Ext) -> tuple[list[Term], Ext]:
    """All claims as one, with powers of gamma."""
    terms: list[Term] = []
    total, power = ZERO, ONE
    for claim in claims:
        terms.extend(Term(mul(power, term.coefficient), term.read, term.weights) for term in claim.terms)
        total = add(total, mul(power, claim.value))
        power = mul(power, gamma)
    return terms, total
