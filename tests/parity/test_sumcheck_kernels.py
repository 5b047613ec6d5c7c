"""The kernels of the sumcheck provers against their definitions in plain integers."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from tests.backends.sumcheck import plain_provers
from tests.backends.sumcheck.plain_provers import drawn, packed
from vml.backends.sumcheck import kernels
from vml.backends.sumcheck.fractions import kernels as fraction_kernels
from vml.backends.sumcheck.fractions.prover import prove_fractions
from vml.backends.sumcheck.products import kernels as product_kernels
from vml.backends.sumcheck.products.prover import prove_products
from vml.backends.sumcheck.rounds import next_claim
from vml.field.goldilocks import ONE, ZERO, Ext, P, add, dot, eq_table, inv, mul, neg, power
from vml.transcript import Transcript


def unpacked(array: np.ndarray) -> list[Ext]:
    return [(int(low), int(high)) for low, high in array]


def pairs(words: tuple[int, ...]) -> list[Ext]:
    return list(zip(map(int, words[::2]), map(int, words[1::2]), strict=True))


def words(x: Ext) -> tuple[np.uint64, np.uint64]:
    return np.uint64(x[0]), np.uint64(x[1])


@pytest.mark.parametrize("log_size", range(1, 11))
def test_fractions_are_proved_as_defined(log_size: int) -> None:
    """The same messages, hence the same challenges, hence the same proof."""
    random = Random(log_size)
    p, q = ([x if x != ZERO else ONE for x in drawn(random, 1 << log_size)] for _ in range(2))
    p[-1] = neg(mul(plain_provers.total([mul(a, inv(b)) for a, b in zip(p[:-1], q[:-1], strict=True)]), q[-1]))
    expected = plain_provers.prove_fractions(p, q, Transcript("parity"))
    assert prove_fractions(packed(p), packed(q), Transcript("parity")) == expected


@pytest.mark.parametrize("sizes", [(0,), (1,), (4,), (0, 1, 2, 3, 3, 1, 0, 5), (9, 2, 9, 10)])
def test_products_are_proved_as_defined(sizes: tuple[int, ...]) -> None:
    random = Random(sum(sizes))
    instances = [tuple(drawn(random, 1 << n) for _ in range(3)) for n in sizes]
    expected, point = plain_provers.prove_products(instances, Transcript("parity"))  # type: ignore[arg-type]
    given = [tuple(packed(table) for table in tables) for tables in instances]
    proof, points = prove_products(given, Transcript("parity"))  # type: ignore[arg-type]
    assert proof == expected
    assert points == tuple(tuple(point[len(point) - n :]) for n in sizes)


@pytest.mark.parametrize("words", [(P - 1, P - 1), (0, 0), (2**32 - 1, 2**32), (P - 2**32, 1)])
def test_sums_of_one_repeated_element(words: tuple[int, int]) -> None:
    """Sums of half words, carried over at the end; 2^12 pairs of the same."""
    table = [words] * (1 << 13)
    total = mul(power(words, 3), (1 << 12, 0))
    array = packed(table)
    assert pairs(product_kernels.first_sums(array, array, array, 0, 1 << 12)) == [total] * 4


@pytest.mark.parametrize(("first", "last"), [(0, 64), (0, 0), (5, 6), (3, 61), (63, 64)])
def test_folding_a_range(first: int, last: int) -> None:
    random = Random(first)
    table, (r,) = drawn(random, 128), drawn(random, 1)
    out = np.full((64, 2), 7, np.uint64)
    bounds = (np.uint64(n) for n in (64, first, last))
    half, begin, end = bounds
    kernels.fold_range(packed(table).reshape(-1), half, *words(r), begin, end, out.reshape(-1))
    folded = plain_provers.fold(table, r)
    assert unpacked(out) == [(7, 7)] * first + folded[first:last] + [(7, 7)] * (64 - last)


@pytest.mark.parametrize("count", range(6))
def test_eq_tables_of_every_end(count: int) -> None:
    point = drawn(Random(count), count)
    tables = fraction_kernels.suffix_tables(packed(point))
    assert tables.shape == (2 << count, 2)
    for k in range(count + 1):
        assert unpacked(tables[1 << k : 2 << k]) == eq_table(point[count - k :])


@pytest.mark.parametrize(("rows", "width"), [(1, 1), (1, 8), (8, 1), (4, 16)])
def test_rows_of_fractions_add_up(rows: int, width: int) -> None:
    """h(0) and the coefficient of t^2 = (h(0) - 2 h(1) + h(2)) / 2, over any split into ranges of rows."""
    random = Random(rows)
    n = 2 * rows * width
    p, q = packed(drawn(random, 2 * n)).reshape(2, n, 2), packed(drawn(random, 2 * n)).reshape(2, n, 2)
    eq_rows, eq_columns = drawn(random, rows), drawn(random, width)
    eq = [mul(x, y) for x in eq_rows for y in eq_columns]
    (by,) = drawn(random, 1)
    mixed = np.empty((n, 2), np.uint64)
    parts = [
        pairs(fraction_kernels.mix_and_sum(p, q, *words(by), mixed, packed(eq_rows), packed(eq_columns), *ends))
        for ends in ((0, rows // 2), (rows // 2, rows))
    ]
    p0, p1, q0, q1 = (unpacked(table) for table in (*p, *q))
    m = [add(a, mul(by, b)) for a, b in zip(p1, q1, strict=True)]
    assert unpacked(mixed) == m

    def h(t: int) -> Ext:
        a, b, c, d = (plain_provers.line(table, t) for table in (p0, q1, q0, m))
        return dot(eq, [add(mul(w, x), mul(y, z)) for w, x, y, z in zip(a, b, c, d, strict=True)])

    square = mul(add(add(h(0), mul((P - 2, 0), h(1))), h(2)), inv((2, 0)))
    assert [add(x, y) for x, y in zip(*parts, strict=True)] == [h(0), square]


@pytest.mark.parametrize("degree", range(1, 6))
def test_a_round_is_interpolated(degree: int) -> None:
    random = Random(degree)
    coefficients, (r,) = drawn(random, degree + 1), drawn(random, 1)

    def g(t: Ext) -> Ext:
        return dot(coefficients, [power(t, k) for k in range(degree + 1)])

    values = [g((i, 0)) for i in range(degree + 1)]
    assert next_claim(add(values[0], values[1]), [values[0], *values[2:]], r) == g(r)
    for i, value in enumerate(values):
        assert next_claim(add(values[0], values[1]), [values[0], *values[2:]], (i, 0)) == value


def test_a_round_without_a_message() -> None:
    with pytest.raises(ValueError, match="at least"):
        next_claim(ONE, [], ONE)
