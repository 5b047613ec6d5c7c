"""Relations in fields so small that every witness can be tried.

`shrunk` sets the modulus to a small prime and limbs to a few bits, so that relations are made, with their bounds, as
they always are. `search` then looks for further columns that satisfy every statement, given operands and a result:
backtracking over all residues, each tried as soon as a statement has no other unknown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

from vml.model import relation
from vml.model.primitives import divide, rescale, shared
from vml.model.relation import Expression, Read, System

Place = tuple[int, int]
Polynomial = dict[tuple[Place, ...], int]
"""Coefficients by monomial; the factors of a monomial are (column, element)."""

MOST_STEPS = 300_000


@contextmanager
def shrunk(p: int, bits: int) -> Iterator[None]:
    """Relations modulo p with limbs of some bits; a product of two limbs is below p."""
    assert 1 << (2 * bits) < p
    with (
        mock.patch.multiple(relation, MODULUS=p, LIMB_BITS=bits, LIMB=1 << bits),
        mock.patch.multiple(shared, MODULUS=p, LIMB_BITS=bits),
        mock.patch.object(divide, "MODULUS", p),
        mock.patch.object(rescale, "SHIFTS", (bits, 2 * bits, 3 * bits)),
    ):
        yield


class Fact(NamedTuple):
    """One statement at one position: the key is 0, or (key, value) is one of the rows."""

    key: Polynomial
    value: Polynomial
    rows: frozenset[tuple[int, int]] | None

    def unknown(self) -> set[Place]:
        return {place for polynomial in (self.key, self.value) for monomial in polynomial for place in monomial}

    def holds(self, numbers: Mapping[Place, int], p: int) -> bool:
        key = _value(self.key, numbers) % p
        return key == 0 if self.rows is None else (key, _value(self.value, numbers) % p) in self.rows


def _value(polynomial: Polynomial, numbers: Mapping[Place, int]) -> int:
    return sum(c * math.prod(numbers[place] for place in monomial) for monomial, c in polynomial.items())


def _add(total: Polynomial, other: Polynomial, factor: int) -> None:
    for monomial, c in other.items():
        total[monomial] = total.get(monomial, 0) + factor * c


def _times(left: Polynomial, right: Polynomial) -> Polynomial:
    product: Polynomial = {}
    for (m, c), (n, d) in itertools.product(left.items(), right.items()):
        _add(product, {tuple(sorted(m + n)): c * d}, 1)
    return product


def _polynomial(expression: Expression, index: Sequence[int], known: Mapping[Place, int]) -> Polynomial:
    total: Polynomial = {}
    for coefficient, term in expression.terms:
        if not isinstance(term, Read):
            factors = zip(term.factors or [None] * len(index), index, strict=True)
            number = math.prod(1 if f is None else i if f == "index" else f[i] for f, i in factors)
            _add(total, {(): number}, coefficient)
            continue
        moves = [s[i] if isinstance(s, tuple) else s * i for s, i in zip(term.steps, index, strict=True)]
        if any(isinstance(s, tuple) and s[i] < 0 for s, i in zip(term.steps, index, strict=True)):
            continue
        place = (term.column, term.offset + sum(moves))
        _add(total, {(): known[place]} if place in known else {(place,): 1}, coefficient)
    return total


def facts(system: System, known: Mapping[Place, int], p: int) -> list[Fact]:
    """Every statement at every position; multiplicities are left out. Tables of values must be known."""
    found = []
    positions = lambda loops: itertools.product(*map(range, loops))  # noqa: E731 - three uses
    for constraint in system.constraints:
        for index in positions(constraint.loops):
            total = _polynomial(constraint.linear, index, known)
            for product in constraint.products:
                for inner in positions(constraint.contract):
                    a, b = (_polynomial(e, (*index, *inner), known) for e in (product.a, product.b))
                    _add(total, _times(a, b), product.coefficient)
            found.append(Fact(_reduced(total, p), {}, None))
    for lookup in system.lookups:
        table = system.tables[lookup.table]
        count = range(math.prod(table.loops))
        values = [0 if table.value is None else known[table.value.column, k] % p for k in count]
        rows = frozenset(((table.first + k) % p, values[k]) for k in count)
        for index in positions(lookup.loops):
            value = _polynomial(lookup.value, index, known) if lookup.value else {}
            found.append(Fact(_reduced(_polynomial(lookup.key, index, known), p), _reduced(value, p), rows))
    return found


def _reduced(polynomial: Polynomial, p: int) -> Polynomial:
    return {monomial: c % p for monomial, c in polynomial.items() if c % p}


def search(facts: Sequence[Fact], given: Mapping[Place, int], p: int) -> dict[Place, int] | None:
    """Numbers for everything unknown with which all facts hold; None where there are none.

    Raises:
        TimeoutError: more than MOST_STEPS numbers were tried.
    """
    unknown = [fact.unknown() for fact in facts]
    numbers = dict(given)
    if not all(fact.holds(numbers, p) for fact, names in zip(facts, unknown, strict=True) if names <= numbers.keys()):
        return None
    about: dict[Place, list[int]] = {}
    for k, names in enumerate(unknown):
        for place in names:
            about.setdefault(place, []).append(k)
    steps = 0

    def choices(place: Place) -> list[int] | None:
        """What a place may be as far as facts say that know all the rest; None where none does."""
        left: list[int] | None = None
        for k in about[place]:
            if all(other in numbers or other == place for other in unknown[k]):
                seen = {other: numbers[other] for other in unknown[k] if other != place}
                left = [x for x in (range(p) if left is None else left) if facts[k].holds(seen | {place: x}, p)]
                if not left:
                    break
        return left

    def parts(places: Sequence[Place]) -> list[list[Place]]:
        """Places that no fact joins, given the numbers so far, are in different parts."""
        left, found = set(places), []
        while left:
            part, edge = [], [min(left)]
            left.remove(edge[0])
            while edge:
                part.append(edge.pop())
                for other in {other for k in about[part[-1]] for other in unknown[k]} & left:
                    left.remove(other)
                    edge.append(other)
            found.append(part)
        return found

    def complete(places: Sequence[Place]) -> bool:
        """Give numbers to places, or leave them as they were."""
        separate = parts(places)
        for done, part in enumerate(separate):
            if not together(part):
                for place in itertools.chain(*separate[:done]):
                    del numbers[place]
                return False
        return True

    def together(places: Sequence[Place]) -> bool:
        nonlocal steps
        # What has one choice or none comes first, then columns in their order: limbs come after what they are limbs of.
        place, tried = min(places), choices(min(places))
        for other in places:
            left = choices(other)
            if left is not None and len(left) <= 1:
                place, tried = other, left
                break
        others = [other for other in places if other != place]
        for number in range(p) if tried is None else tried:
            steps += 1
            if steps > MOST_STEPS:
                raise TimeoutError
            numbers[place] = number
            if complete(others):
                return True
            del numbers[place]
        return False

    return numbers if complete([place for place in about if place not in numbers]) else None
