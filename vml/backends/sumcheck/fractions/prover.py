"""Proves that a sum of fractions is zero; the mathematics is in `verifier`, the inner loops are in `kernels`.

The layers of the tree are computed from the leaves up and kept. Then, from the root down, each layer's sumcheck binds
its variables, the most significant first, so that all tables halve in place of being copied about.

With h as in `kernels` and everything before divided out, the claim of a round is (1 - r_1) h(0) + r_1 h(1): h(0) and
the coefficient of t^2 give h(1), and the next claim is h at the challenge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.backends.sumcheck.fractions.types import FractionClaim, FractionLayer, FractionProof, Round
from vml.errors import ProvingError
from vml.field.goldilocks import ONE, ZERO, Ext, P, add, eq_point, inv, mul, scale, sub
from vml.threads import over_blocks
from vml.transcript import Transcript

if TYPE_CHECKING:
    from vml.backends.types import Progress

    Words = np.ndarray[Any, np.dtype[np.uint64]]

_LOG_WIDTH = 7  # a row of four folded tables, both halves, fits the first cache
_SMALL = 1 << 11  # below so many elements a second thread does not pay


def prove_fractions(
    numerators: Words, denominators: Words, transcript: Transcript, progress: Progress | None = None
) -> tuple[FractionProof, FractionClaim]:
    """Prove that the sum of numerators[i] / denominators[i] is zero.

    Args:
        numerators, denominators: extension uint64[2^n, 2], n >= 1, canonical. They are read only.
        transcript: has bound what they are made of.
        progress: told the part that is done.

    Returns:
        The proof, and what remains to be shown about the leaves: what the verifier will return.

    Raises:
        ProvingError: the sum is not zero, or a denominator is.
        ValueError: not two arrays of this form.
    """
    size = len(numerators)
    if size < 2 or size & size - 1 or numerators.shape != (size, 2) or denominators.shape != (size, 2):
        raise ValueError(f"fractions come in pairs of 2^n: {numerators.shape} numerators, {denominators.shape} below")
    tree = _grow(np.ascontiguousarray(numerators, np.uint64), np.ascontiguousarray(denominators, np.uint64))
    p, q = tree[-1]
    root = _ext(p[0, 0]), _ext(p[1, 0]), _ext(q[0, 0]), _ext(q[1, 0])
    if add(mul(root[0], root[3]), mul(root[1], root[2])) != ZERO:
        raise ProvingError("the sum of fractions is not zero: a value is not in its table, or is counted wrongly")
    if mul(root[2], root[3]) == ZERO:
        raise ProvingError("a fraction has denominator zero")

    layers: list[FractionLayer] = []
    point: list[Ext] = []
    numerator, denominator = ZERO, ZERO
    for k in range(len(tree)):
        p, q = tree.pop()  # a layer that is done makes room for the next, larger one
        rounds: tuple[Round, ...] = ()
        values, bound = root, list[Ext]()
        if k:
            fold = transcript.sample_ext("fractions/fold")
            claim = add(numerator, mul(fold, denominator))
            rounds, values, bound = _Layer(p, q, point, fold).prove(claim, transcript)
        layers.append(FractionLayer(rounds, values))
        transcript.observe_ext("fractions/values", values)
        child = transcript.sample_ext("fractions/child")
        p0, p1, q0, q1 = values
        numerator = add(p0, mul(child, sub(p1, p0)))
        denominator = add(q0, mul(child, sub(q1, q0)))
        point = [child, *bound]
        if progress:
            progress("lookups", 2.0 ** (k + 1) / size)
    return FractionProof(tuple(layers)), FractionClaim(tuple(point), numerator, denominator)


def _grow(numerators: Words, denominators: Words) -> list[tuple[Words, Words]]:
    """Every layer but the root, lowest first, as numerators and denominators uint64[2, 2^k, 2]: two children each."""
    from vml.backends.sumcheck.fractions import kernels

    half = len(numerators) >> 1
    tree = [(numerators.reshape(2, half, 2), denominators.reshape(2, half, 2))]
    while half > 1:
        p, q = tree[-1]
        above = np.empty((2, half, 2), np.uint64)

        def work(first: int, last: int, p: Words = p, q: Words = q, above: Words = above) -> None:
            kernels.add_fractions(p, q, first, last, above[0], above[1])

        _split(half, half, work)
        half >>= 1
        tree.append((above[0].reshape(2, half, 2), above[1].reshape(2, half, 2)))
    return tree


class _Layer:
    """The sumcheck of one layer with k >= 1 variables.

    Args:
        p, q: the children, uint64[2, 2^k, 2].
        point, fold: of the claim.
    """

    def __init__(self, p: Words, q: Words, point: list[Ext], fold: Ext) -> None:
        from vml.backends.sumcheck.fractions import kernels

        self._kernels = kernels
        self._p, self._q = p, q
        self._mixed = np.empty((1 << len(point), 2), np.uint64)
        self._scratch = [np.empty((4 * max(1, len(self._mixed) >> shift), 2), np.uint64) for shift in (1, 2)]
        self._point, self._fold = point, fold
        cut = max(1, len(point) - _LOG_WIDTH)
        coordinates = np.array(point, np.uint64)
        self._rows = kernels.suffix_tables(coordinates[1:cut])
        self._columns = kernels.suffix_tables(coordinates[cut:])

    def prove(
        self, claim: Ext, transcript: Transcript
    ) -> tuple[tuple[Round, ...], tuple[Ext, Ext, Ext, Ext], list[Ext]]:
        """The rounds, the children's four values, and the point these are at."""
        rounds: list[Round] = []
        bound: list[Ext] = []
        before = ONE  # eq(point, bound), as far as it is bound
        tables = (self._p[0], self._mixed, self._q)
        for index, coordinate in enumerate(self._point):
            pairs = 1 << (len(self._point) - index - 1)
            if index == 0:
                h_0, square = self._first(pairs)
            else:
                out = self._scratch[(index - 1) & 1][: 8 * pairs].reshape(4, 2 * pairs, 2)
                h_0, square = self._next(tables, bound[-1], out, pairs)
                tables = (out[0], out[1], out[2:])
            sent, slope = _round_polynomial(claim, coordinate, before, h_0, square)
            rounds.append(sent)
            transcript.observe_ext("fractions/round", sent)
            r = transcript.sample_ext("fractions/bind")
            bound.append(r)
            claim = add(h_0, mul(r, add(slope, mul(r, square))))
            before = mul(before, eq_point([coordinate], [r]))
        p0, m, q0, q1 = (_bind(table, bound[-1]) for table in (tables[0], tables[1], *tables[2]))
        return tuple(rounds), (p0, sub(m, mul(self._fold, q1)), q0, q1), bound

    def _first(self, pairs: int) -> tuple[Ext, Ext]:
        """h(0) and the coefficient of t^2 of the first round."""
        rows, columns = self._eq(pairs)
        f0, f1 = _words(self._fold)

        def sums(first: int, last: int) -> Any:
            return self._kernels.mix_and_sum(self._p, self._q, f0, f1, self._mixed, rows, columns, first, last)

        return _total(len(rows), pairs, sums)

    def _next(self, tables: tuple[Words, Words, Words], r: Ext, out: Words, pairs: int) -> tuple[Ext, Ext]:
        """Bind a variable of p0, m and (q0, q1), into `out`; h(0) and the coefficient of t^2 of the next round."""
        rows, columns = self._eq(pairs)
        r0, r1 = _words(r)
        p0, m, q = tables

        def sums(first: int, last: int) -> Any:
            return self._kernels.fold_and_sum(p0, m, q, r0, r1, out, rows, columns, first, last)

        return _total(len(rows), pairs, sums)

    def _eq(self, pairs: int) -> tuple[Words, Words]:
        """eq of the coordinates that are left, as the two tables whose products it is."""
        width = min(pairs, len(self._columns) >> 1)
        rows = pairs // width
        return self._rows[rows : 2 * rows], self._columns[width : 2 * width]


def _round_polynomial(claim: Ext, coordinate: Ext, before: Ext, h_0: Ext, square: Ext) -> tuple[Round, Ext]:
    """g(0), g(2), g(3) of g(t) = before eq(coordinate, t) h(t), and the coefficient of t of h.

    h(1) follows from (1 - coordinate) h(0) + coordinate h(1) = claim. A coordinate is zero, and this raises
    ZeroDivisionError, with a chance of 1 / |F|.
    """
    at_0 = sub(ONE, coordinate)
    h_1 = mul(sub(claim, mul(at_0, h_0)), inv(coordinate))
    slope = sub(sub(h_1, h_0), square)
    step = sub(coordinate, at_0)  # eq(coordinate, t) = at_0 + t step

    def g(t: int) -> Ext:
        eq, h = add(at_0, scale(step, t)), add(h_0, scale(add(slope, scale(square, t)), t))
        return mul(before, mul(eq, h))

    return (g(0), g(2), g(3)), slope


def _total(rows: int, pairs: int, sums: Callable[[int, int], Any]) -> tuple[Ext, Ext]:
    """Two extension elements summed over all rows, on all threads where that pays."""
    parts: list[Any] = []
    _split(rows, pairs, lambda first, last: parts.append(sums(first, last)))
    a0, a1, b0, b1 = (sum(int(word) for word in words) % P for words in zip(*parts, strict=True))
    return (a0, a1), (b0, b1)


def _split(count: int, pairs: int, work: Callable[[int, int], None]) -> None:
    """Run work(first, last) over 0 .. count, which stands for so many pairs of elements."""
    if pairs < _SMALL:
        work(0, count)
    else:
        over_blocks(count, lambda block: work(block.start, block.stop))


def _bind(table: Words, r: Ext) -> Ext:
    low, high = _ext(table[0]), _ext(table[1])
    return add(low, mul(r, sub(high, low)))


def _ext(words: Words) -> Ext:
    return (int(words[0]), int(words[1]))


def _words(x: Ext) -> tuple[np.uint64, np.uint64]:
    """For a kernel: a bare int would be a signed one."""
    return np.uint64(x[0]), np.uint64(x[1])
