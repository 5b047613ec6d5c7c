"""Every field kernel equals plain integers, on edge values and at sizes around vectors and blocks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from vml.field import goldilocks as gl
from vml.field import kernels
from vml.field.goldilocks import Ext, P
from vml.field.kernels_inlined import inlined

EDGES = (0, 1, 2, 7, P - 1, P - 2, 2**32 - 1, 2**32, 2**32 + 1, P - 2**32, P - 2**32 - 1, 2**63, 2**63 - 1, P >> 1)
Words = np.ndarray


def element(rng: random.Random) -> int:
    return rng.choice(EDGES) if rng.random() < 0.4 else rng.randrange(P)


def base(*shape: int) -> Words:
    rng = random.Random(repr(shape))
    return np.array([element(rng) for _ in range(int(np.prod(shape)))], np.uint64).reshape(shape)


def ext(*shape: int) -> Words:
    return base(*shape, 2)


def exts(array: Words) -> list[Ext]:
    return [(int(a), int(b)) for a, b in array.reshape(-1, 2)]


def ints(array: Words) -> list[int]:
    return [int(a) for a in array.reshape(-1)]


def empty(*shape: int) -> Words:
    return np.full(shape, 2**64 - 1, np.uint64)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """An inlined function, in a kernel of its own."""
    return njit(lambda *words: function(*words))


ADD, SUB, MUL, NEG = (compiled(f) for f in (kernels.add, kernels.sub, kernels.mul, kernels.neg))
TIMES_SEVEN, FROM_HALVES = compiled(kernels.times_seven), compiled(kernels.from_halves)
REDUCE_WIDE, WIDE = compiled(kernels.reduce_wide), compiled(kernels.wide)
EXT_ADD, EXT_SUB, EXT_MUL = (compiled(f) for f in (kernels.ext_add, kernels.ext_sub, kernels.ext_mul))
EXT_SCALE = compiled(kernels.ext_scale)


def test_scalars_on_all_pairs_of_edges() -> None:
    edges = [*EDGES, *ints(base(20))]
    for a in edges:
        assert NEG(np.uint64(a)) == -a % P
        assert TIMES_SEVEN(np.uint64(a)) == 7 * a % P
        for b in edges:
            x, y = np.uint64(a), np.uint64(b)
            assert ADD(x, y) == (a + b) % P
            assert SUB(x, y) == (a - b) % P
            assert MUL(x, y) == a * b % P
            assert FROM_HALVES(x, y) == (a + (b << 32)) % P


def test_reduction_of_any_two_words() -> None:
    words = [*EDGES, P, P + 1, 2**64 - 1, 2**64 - 2**32, 2**64 - 2**32 - 1]
    for low in words:
        for high in words:
            assert REDUCE_WIDE(np.uint64(low), np.uint64(high)) == (low + (high << 64)) % P
            product = WIDE(np.uint64(low), np.uint64(high))
            assert int(product[0]) + (int(product[1]) << 64) == low * high


def test_extension_scalars() -> None:
    xs, ys = exts(ext(40)), exts(ext(41))
    for (a, b), (c, d) in zip(xs, ys, strict=False):
        words = [np.uint64(n) for n in (a, b, c, d)]
        assert EXT_MUL(*words) == gl.mul((a, b), (c, d))
        assert EXT_ADD(*words) == gl.add((a, b), (c, d))
        assert EXT_SUB(*words) == gl.sub((a, b), (c, d))
        assert EXT_SCALE(*words[:3]) == gl.scale((a, b), c)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_from_signed(dtype: type[np.signedinteger]) -> None:
    info = np.iinfo(dtype)
    values = np.array([info.min, info.min + 1, -1, 0, 1, info.max, *range(-40, 40)], dtype)
    out = empty(values.size)
    kernels.from_signed(values, out)
    assert ints(out) == [gl.from_int(int(v)) for v in values]


@pytest.mark.parametrize("k", [0, 1, 2, 3, 5, 11])
def test_eq_expand(k: int) -> None:
    point = ext(k)
    out = empty(1 << k, 2)
    kernels.eq_expand(point, out)
    assert exts(out) == gl.eq_table(exts(point))


@pytest.mark.parametrize("n", [2, 4, 16, 64, 2048])
@pytest.mark.parametrize("in_place", [False, True])
def test_fold_high(n: int, in_place: bool) -> None:
    values, r, half = ext(n), ext(1)[0], n // 2
    lows, highs, x = exts(values[:half]), exts(values[half:]), exts(r)[0]
    expected = [gl.add(a, gl.mul(x, gl.sub(b, a))) for a, b in zip(lows, highs, strict=True)]
    out = values[:half] if in_place else empty(half, 2)
    kernels.fold_high(values, r, out, 0, half // 3)
    kernels.fold_high(values, r, out, half // 3, half)
    assert exts(out) == expected


@pytest.mark.parametrize("n", [2, 4, 16, 64, 2048])
def test_fold_high_base(n: int) -> None:
    values, r, half = base(n), ext(1)[0], n // 2
    out = empty(half, 2)
    kernels.fold_high_base(values, r, out, 0, half // 3)
    kernels.fold_high_base(values, r, out, half // 3, half)
    pairs = zip(ints(values[:half]), ints(values[half:]), strict=True)
    assert exts(out) == [gl.add(gl.ext(a), gl.scale(exts(r)[0], (b - a) % P)) for a, b in pairs]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5), (8, 16), (2, 600)])
def test_outer_add(rows: int, columns: int) -> None:
    left, right, target = ext(rows), ext(columns), ext(rows * columns)
    outer = [gl.mul(x, y) for x in exts(left) for y in exts(right)]
    expected = [gl.add(t, p) for t, p in zip(exts(target), outer, strict=True)]
    kernels.outer_add(target, left, right, 0, 1)
    kernels.outer_add(target, left, right, 1, rows)
    assert exts(target) == expected


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (0, 3), (3, 5), (17, 40), (5, 1100), (2100, 9)])
def test_accumulate_rows(rows: int, columns: int) -> None:
    values, coefficients = base(rows, columns), ext(rows)
    out = empty(columns, 2)
    kernels.accumulate_rows(values, coefficients, out, 0, columns // 3)
    kernels.accumulate_rows(values, coefficients, out, columns // 3, columns)
    assert exts(out) == [gl.dot_base(exts(coefficients), ints(values[:, j])) for j in range(columns)]


def test_sums_of_greatest_products() -> None:
    """No accumulator wraps: thousands of terms, every operand p - 1."""
    count = 5000
    values = np.full((count, 40), P - 1, np.uint64)
    coefficients = np.full((count, 2), P - 1, np.uint64)
    out = empty(40, 2)
    kernels.accumulate_rows(values, coefficients, out, 0, 40)
    assert exts(out) == [(count, count)] * 40
    assert kernels.dot_base(coefficients, values[:, 0].copy()) == (count, count)
    assert kernels.dot_ext(coefficients, coefficients) == (8 * count, 2 * count)


@pytest.mark.parametrize(("o", "k", "d", "i"), [(1, 1, 1, 1), (3, 4, 5, 1), (2, 3, 40, 7), (3, 2, 9, 33), (2, 3, 0, 2)])
def test_multiply_matrix(o: int, k: int, d: int, i: int) -> None:
    matrix, values, words = ext(k, d), ext(o, d, i), base(o, d, i)
    out, out_base = empty(o, k, i, 2), empty(o, k, i, 2)
    for first, last in ((0, 1), (1, o)):
        kernels.multiply_matrix(matrix, values, out, first, last)
        kernels.multiply_matrix_base(matrix, words, out_base, first, last)
    for x in range(o):
        for y in range(k):
            for z in range(i):
                row = exts(matrix[y])
                assert exts(out[x, y, z]) == [gl.dot(row, exts(values[x, :, z]))]
                assert exts(out_base[x, y, z]) == [gl.dot_base(row, ints(words[x, :, z]))]


@pytest.mark.parametrize("n", [0, 1, 3, 40, 1000])
def test_dots(n: int) -> None:
    a, b, c = ext(n), ext(n)[::-1].copy(), base(n)
    assert kernels.dot_ext(a, b) == gl.dot(exts(a), exts(b))
    assert kernels.dot_base(a, c) == gl.dot_base(exts(a), ints(c))


@pytest.mark.parametrize("second", [1, np.int64(1), np.uint32(1), True, 1.0])
def test_a_word_meets_words_only(second: object) -> None:
    with pytest.raises(TypingError):
        ADD(np.uint64(1), second)


@pytest.mark.parametrize("constant", [1, np.int64(1), np.uint32(1), 1.0])
def test_a_constant_is_a_word(constant: Any) -> None:
    @inlined
    def plus(a: Any) -> Any:
        return a + constant

    with pytest.raises((TypeError, TypingError)):
        compiled(plus)(np.uint64(1))
