"""Weights of loops, and their sums in closed form.

The weights of a loop of n steps are w(i) = eq(r, i) for a point r of b = ceil(log2 n) challenges, or w(i) = 1; beyond n
they are 0. Both are products over the bits of i, most significant first, of a_k where the bit is 1 and b_k where it
is 0, and so is w(i) * eq(z, i). With P_k = prod_(j >= k) (a_j + b_j), the sum over all i < n is a walk along the bits
of n: where n has a 1, all i that agree with n so far and have a 0 there are below n. This takes b steps, not n. The sum
of i * w(i) is the same walk with Q_k = sum over the last bits of (index * product).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from vml.backends.sumcheck.arrange import bits_of
from vml.field.goldilocks import ONE, ZERO, Ext, add, dot, eq_table, mul, scale, sub
from vml.model.relation import Factor, Step

Bits = Sequence[tuple[Ext, Ext]]
"""For each bit of an index, most significant first: the factor where it is 1, and where it is 0."""


def sum_below(n: int, bits: Bits) -> tuple[Ext, Ext]:
    """Sum over i < n of the product f(i), and of i * f(i); n is at most 2^len(bits)."""
    count = len(bits)
    total, weighted = [ONE], [ZERO]  # P and Q, last first
    for k, (one, zero) in enumerate(reversed(bits)):
        both = add(one, zero)
        weighted.append(add(mul(both, weighted[-1]), scale(mul(one, total[-1]), 1 << k)))
        total.append(mul(both, total[-1]))
    if n == 1 << count:
        return total[-1], weighted[-1]
    sums, indexed, prefix, base = ZERO, ZERO, ONE, 0
    for k, (one, zero) in enumerate(bits):
        left = count - 1 - k
        if n >> left & 1:
            below = mul(prefix, zero)
            part = mul(below, total[left])
            sums = add(sums, part)
            indexed = add(indexed, add(scale(part, base), mul(below, weighted[left])))
            prefix, base = mul(prefix, one), base + (1 << left)
        else:
            prefix = mul(prefix, zero)
    return sums, indexed


@dataclass(frozen=True, eq=False)
class Weight:
    """Weights of one loop.

    Attributes:
        size: steps of the loop.
        point: ``bits_of(size)`` challenges for eq(point, i); None for 1.
    """

    size: int
    point: tuple[Ext, ...] | None = None

    @cached_property
    def bits(self) -> Bits:
        if self.point is None:
            return [(ONE, ONE)] * bits_of(self.size)
        return [(r, sub(ONE, r)) for r in self.point]

    @cached_property
    def values(self) -> list[Ext]:
        """Every weight."""
        return [ONE] * self.size if self.point is None else eq_table(self.point)[: self.size]

    @cached_property
    def sums(self) -> tuple[Ext, Ext]:
        """Sum of the weights, and of index times weight."""
        return sum_below(self.size, self.bits)

    def total(self, step: Step) -> Ext:
        """Sum over the positions that count: all, or those that are not -1."""
        if isinstance(step, tuple):
            return _sum(w for w, position in zip(self.values, step, strict=True) if position >= 0)
        return self.sums[0]

    def times(self, factor: Factor) -> Ext:
        """Sum of weight times public factor."""
        if factor is None:
            return self.sums[0]
        if factor == "index":
            return self.sums[1]
        return _sum(scale(w, n) for w, n in zip(self.values, factor, strict=True))

    def against(self, point: Sequence[Ext]) -> Ext:
        """Sum over i < size of weight(i) * eq(point, i), for a point of at least as many bits as the loop has."""
        spare = len(point) - len(self.bits)
        bits = [(mul(one, z), mul(zero, sub(ONE, z))) for (one, zero), z in zip(self.bits, point[spare:], strict=True)]
        result = sum_below(self.size, bits)[0]
        for z in point[:spare]:
            result = mul(result, sub(ONE, z))
        return result


def _sum(values: object) -> Ext:
    total = ZERO
    for value in values:  # type: ignore[attr-defined]
        total = add(total, value)
    return total


class Point:
    """A point, of which statements take weights eq(point, .) for their loops."""

    def __init__(self, coordinates: Sequence[Ext]) -> None:
        self.coordinates = tuple(coordinates)
        self._cut: dict[tuple[int, int], Weight] = {}

    def weights(self, loops: Sequence[int]) -> tuple[Weight, ...]:
        """One weight a loop, the first loop takes the first coordinates. Raises ValueError if there are too few."""
        weights, at = [], 0
        for n in loops:
            if (at, n) not in self._cut:
                self._cut[at, n] = Weight(n, self.coordinates[at : at + bits_of(n)])
            weights.append(self._cut[at, n])
            at += bits_of(n)
        if at > len(self.coordinates):
            raise ValueError(f"the loops have {at} bits, the point {len(self.coordinates)}")
        return tuple(weights)


def along_axis(
    offset: int, moves: Sequence[tuple[int, Step]], weights: Sequence[Weight | None], size: int
) -> list[Ext]:
    """The vector of one axis: at position p the sum over the loops' indices that lead to p of the product of weights.

    Args:
        offset: of the axis. moves: (loop, coefficient or positions). weights: of all loops. size: of the axis.
    """
    vector: dict[int, Ext] = {offset: ONE}
    for loop, step in moves:
        weight = weights[loop]
        if weight is None:
            raise ValueError("a loop without weights moves")
        places = step if isinstance(step, tuple) else range(0, step * weight.size, step)
        pairs = [(p, w) for p, w in zip(places, weight.values, strict=True) if p >= 0 or not isinstance(step, tuple)]
        moved: dict[int, Ext] = {}
        for base, left in vector.items():
            for place, right in pairs:
                product = mul(left, right)
                at = base + place
                moved[at] = add(moved[at], product) if at in moved else product
        vector = moved
    return [vector.get(p, ZERO) for p in range(size)]


def axis_value(
    offset: int,
    moves: Sequence[tuple[int, Step]],
    weights: Sequence[Weight | None],
    size: int,
    point: Sequence[Ext],
    table: list[Ext],
) -> Ext:
    """The vector of one axis times eq(point, .); ``table`` is eq_table(point), filled by whoever needs it first."""
    if not moves:
        result = ONE
        for k, z in enumerate(point):
            result = mul(result, z if offset >> (len(point) - 1 - k) & 1 else sub(ONE, z))
        return result
    if len(moves) == 1 and moves[0][1] == 1 and offset == 0:
        weight = weights[moves[0][0]]
        if weight is not None:
            return weight.against(point)
    if not table:
        table.extend(eq_table(point))
    return dot(along_axis(offset, moves, weights, size), table[:size])
