"""Proves many weighted inner products at once; the mathematics is in `verifier`, the inner loops are in `kernels`.

With s variables left to bind, every instance that has begun has tables of 2^s entries: they lie side by side in one
array, and a round is one pass over it. An instance of n variables begins when s = n, its first round straight from
the caller's arrays; before that it adds the constant mix^j v_j / 2^(rounds so far), its own included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vml.backends.sumcheck.products.types import ProductProof, Round
from vml.backends.sumcheck.products.verifier import mix_powers
from vml.field.goldilocks import ZERO, Ext, P, add, dot, inverse, mul, scale, sub
from vml.threads import over_blocks, run_all
from vml.transcript import Transcript

if TYPE_CHECKING:
    from vml.backends.types import Progress

Words: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
Factors: TypeAlias = tuple[Words, Words, Words]

_STEP = 1 << 12  # pairs in a unit of work
_SMALL = 1 << 11  # below so many pairs a second thread does not pay
_HALF = inverse(2)


@dataclass(frozen=True)
class _Instance:
    """Weight and factors, extension uint64[2^num_vars, 2]; the sum, and g(0), g(2), g(3) of the first own round."""

    tables: Factors
    num_vars: int
    value: Ext
    opening: Round


def prove_products(
    instances: Sequence[Factors], transcript: Transcript, progress: Progress | None = None
) -> tuple[ProductProof, tuple[tuple[Ext, ...], ...]]:
    """Compute sum_x weight(x) a(x) b(x) for every instance and prove it.

    Args:
        instances: (weight, a, b), each an extension array uint64[2^n, 2] with canonical entries, n >= 0. Read only.
        transcript: has bound what they are made of.
        progress: told the part that is done.

    Returns:
        The proof, whose `values` are the sums, and each instance's point: there its factors are what remains to be
        shown.

    Raises:
        ValueError: an instance is not three arrays of one such form.
    """
    begun = _first_rounds([_checked(tables) for tables in instances])
    values = tuple(instance.value for instance in begun)
    transcript.observe_ext("products/values", values)
    powers = mix_powers(transcript.sample_ext("products/mix"), len(begun))
    total = max((instance.num_vars for instance in begun), default=0)
    shares = [
        scale(factor, pow(_HALF, total - instance.num_vars, P)) for factor, instance in zip(powers, begun, strict=True)
    ]

    running = _Running(begun, shares, total)
    rounds: list[Round] = []
    point: list[Ext] = []
    for left in range(total, 0, -1):
        waiting = dot(powers, [i.value if i.num_vars < left else ZERO for i in begun])
        waiting = scale(waiting, pow(_HALF, total - left + 1, P))
        g0, g2, g3 = running.message(point[-1] if point else None, left)
        rounds.append((add(g0, waiting), add(g2, waiting), add(g3, waiting)))
        transcript.observe_ext("products/round", rounds[-1])
        point.append(transcript.sample_ext("products/bind"))
        if progress:
            progress("products", len(point) / total)
    factors = running.factors(point[-1] if point else None)
    transcript.observe_ext("products/factors", [factor for pair in factors for factor in pair])
    points = tuple(tuple(point[total - instance.num_vars :]) for instance in begun)
    return ProductProof(values, tuple(rounds), factors), points


class _Running:
    """The instances that have begun, in one array; those that begin in this round still stand in the caller's."""

    def __init__(self, instances: Sequence[_Instance], shares: Sequence[Ext], total: int) -> None:
        self._instances, self._shares = instances, shares
        self._order = sorted(range(len(instances)), key=lambda j: -instances[j].num_vars)
        self._packed_shares = np.array([shares[j] for j in self._order], np.uint64).reshape(-1, 2)
        # The array of a round is written while that of the round before is read: two buffers.
        sizes = [3 * sum(i.num_vars > left for i in instances) << left for left in range(total)]
        self._buffers = [np.empty((max(sizes[parity::2], default=0), 2), np.uint64) for parity in (0, 1)]
        self._tables = np.empty((0, 3, 0, 2), np.uint64)
        self._fresh: list[int] = []  # begin in this round

    def message(self, r: Ext | None, left: int) -> Round:
        """g(0), g(2), g(3) of all that have begun, after the variable before is bound to r; `left` are not bound."""
        sums = self._fold(r, left) if r is not None else (ZERO, ZERO, ZERO)
        self._fresh = [j for j in self._order if self._instances[j].num_vars == left]
        for j in self._fresh:
            g0, g2, g3 = (mul(self._shares[j], value) for value in self._instances[j].opening)
            sums = add(sums[0], g0), add(sums[1], g2), add(sums[2], g3)
        return sums

    def _fold(self, r: Ext, left: int) -> Round:
        """Bind a variable in every table, those of the last beginners included, and sum over what comes out."""
        from vml.backends.sumcheck.products import kernels

        r0, r1 = np.uint64(r[0]), np.uint64(r[1])
        pairs, old = 1 << (left - 1), len(self._tables)
        count = old + len(self._fresh)
        out = self._buffers[left & 1][: 6 * pairs * count].reshape(count, 3, 2 * pairs, 2)
        step = min(pairs, _STEP)
        units = pairs // step
        parts: list[Sequence[int]] = []

        def old_ones(first: int, last: int) -> None:
            tables, shares = self._tables, self._packed_shares
            parts.append(kernels.fold_and_sum_all(tables, shares, r0, r1, out, step, first, last))

        def fresh_one(index: int, unit: int) -> None:
            j, first = self._fresh[index], unit * step
            words = kernels.fold_and_sum(*self._instances[j].tables, r0, r1, out[old + index], first, first + step)
            parts.append([word for value in _elements(words) for word in mul(self._shares[j], value)])

        if old * pairs < _SMALL:
            old_ones(0, old * units)
        else:
            over_blocks(old * units, lambda block: old_ones(block.start, block.stop))
        _run([partial(fresh_one, i, unit) for i in range(len(self._fresh)) for unit in range(units)], pairs)
        self._tables = out
        g0, g2, g3 = _elements([sum(map(int, words)) % P for words in zip(*parts, strict=True)])
        return g0, g2, g3

    def factors(self, r: Ext | None) -> tuple[tuple[Ext, Ext], ...]:
        """Both factors of each instance, all variables bound, the last one to r."""
        tables = [(table[1], table[2]) for table in self._tables]
        tables += [self._instances[j].tables[1:] for j in self._order[len(tables) :]]
        ends = {j: (_bind(a, r), _bind(b, r)) for j, (a, b) in zip(self._order, tables, strict=True)}
        return tuple(ends[j] for j in range(len(ends)))


def _first_rounds(checked: Sequence[Factors]) -> list[_Instance]:
    """The sum and the first round of every instance, on all threads."""
    from vml.backends.sumcheck.products import kernels

    parts: list[list[Sequence[int]]] = [[] for _ in checked]

    def part(j: int, first: int, last: int) -> None:
        parts[j].append(kernels.first_sums(*checked[j], first, last))

    tasks = []
    for j, (weight, _, _) in enumerate(checked):
        pairs = len(weight) >> 1
        tasks += [partial(part, j, first, min(pairs, first + _STEP)) for first in range(0, pairs, _STEP)]
    _run(tasks, _STEP)
    return [_instance(tables, words) for tables, words in zip(checked, parts, strict=True)]


def _instance(tables: Factors, parts: Sequence[Sequence[int]]) -> _Instance:
    num_vars = len(tables[0]).bit_length() - 1
    if num_vars == 0:
        weight, a, b = (_element(table[0]) for table in tables)
        return _Instance(tables, 0, mul(weight, mul(a, b)), (ZERO, ZERO, ZERO))
    g0, g1, g2, g3 = _elements([sum(map(int, words)) % P for words in zip(*parts, strict=True)])
    return _Instance(tables, num_vars, add(g0, g1), (g0, g2, g3))


def _checked(tables: Factors) -> Factors:
    size = len(tables[0])
    if size < 1 or size & (size - 1) or any(table.shape != (size, 2) for table in tables):
        raise ValueError(f"an instance has three tables of 2^n elements, got {[table.shape for table in tables]}")
    weight, a, b = (np.ascontiguousarray(table, np.uint64) for table in tables)
    return weight, a, b


def _run(tasks: Sequence[Callable[[], None]], pairs: int) -> None:
    """Run tasks of so many pairs each, on all threads where that pays."""
    if len(tasks) * pairs < _SMALL:
        for task in tasks:
            task()
    else:
        run_all(tasks)


def _bind(table: Words, r: Ext | None) -> Ext:
    """A table of one variable at r; one of no variables is its entry."""
    low = _element(table[0])
    if r is None or len(table) == 1:
        return low
    return add(low, mul(r, sub(_element(table[1]), low)))


def _element(words: Words) -> Ext:
    return (int(words[0]), int(words[1]))


def _elements(words: Sequence[int]) -> list[Ext]:
    """Pairs of words, as a kernel returns them."""
    return [(int(low), int(high)) for low, high in zip(words[::2], words[1::2], strict=True)]
