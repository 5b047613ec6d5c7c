"""numba kernels on arrays of Goldilocks elements: base uint64[n], extension uint64[n, 2], C-contiguous, canonical.

Each is the twin of plain integers (`vml.field.goldilocks`); ``tests/parity/test_field_kernels.py`` holds them
together. Arrays in and out are canonical: every element is below p. Kernels that are worth several threads take
a range ``first..last`` of what they write, and the caller splits it.

In kernels every literal is a typed constant: numba promotes uint64 mixed with a bare literal to a signed or
floating type without a word.

Scalars are laid out where they are used (`vml.field.kernels_inlined`): inlined later, by LLVM, they keep loops out of
the vector registers. For the same reason a product of two words is put together from four products of half words (one
of 64 x 64 -> 128 bits runs in one lane; in loops over arrays it measured half as fast), corrections are masks, and
`pairs` pins the layout of extension arrays.

Reduction: x = lo + 2^64 (hl + 2^32 hh) with 2^64 = 2^32 - 1 and 2^96 = -1 is lo - hh + (2^32 - 1) hl, where
each wrap around 2^64 is corrected by 2^32 - 1. Source: the reduction of Plonky2's goldilocks field.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from vml.field.goldilocks import P
from vml.field.kernels_inlined import inlined

Words = np.ndarray[Any, np.dtype[np.uint64]]

_P = np.uint64(P)
_EPSILON = np.uint64(2**32 - 1)  # 2^64 mod p
_U0, _U1, _U2, _U3, _U32 = (np.uint64(n) for n in (0, 1, 2, 3, 32))
_S0, _S1 = np.int64(0), np.int64(1)  # for indices and int64 values
_PAIR = np.int64(2)
_WIDE = np.int64(16)
_BLOCK = np.int64(512)  # elements: blocks of two operands and a result stay in the first cache


@inlined
def mask(condition):  # type: ignore[no-untyped-def]
    """All ones where the condition holds: conditional corrections without branches, which would be mispredicted."""
    return condition.spread()


@inlined
def wide(a, b):  # type: ignore[no-untyped-def]
    """The 128-bit product of any two words, as (low word, high word)."""
    a0, a1 = a & _EPSILON, a >> _U32
    b0, b1 = b & _EPSILON, b >> _U32
    low = a0 * b0
    middle = a1 * b0 + (low >> _U32)
    other = a0 * b1 + (middle & _EPSILON)
    return (low & _EPSILON) | (other << _U32), a1 * b1 + (middle >> _U32) + (other >> _U32)


@inlined
def reduce_wide(low, high):  # type: ignore[no-untyped-def]
    """low + 2^64 high modulo p, for any two words."""
    top, mid = high >> _U32, high & _EPSILON
    t = low - top - (_EPSILON & mask(low < top))
    u = (mid << _U32) - mid
    r = t + u
    r += _EPSILON & mask(r < u)
    return r - (_P & mask(r >= _P))


@inlined
def add(a, b):  # type: ignore[no-untyped-def]
    s = a + b
    return s - (_P & mask((s < a) | (s >= _P)))


@inlined
def sub(a, b):  # type: ignore[no-untyped-def]
    return a - b + (_P & mask(a < b))


@inlined
def neg(a):  # type: ignore[no-untyped-def]
    return (_P - a) & mask(a > _U0)


@inlined
def mul(a, b):  # type: ignore[no-untyped-def]
    low, high = wide(a, b)
    return reduce_wide(low, high)


@inlined
def times_seven(a):  # type: ignore[no-untyped-def]
    """7a: 8a - a, where 8a is one word and three bits."""
    return sub(reduce_wide(a << _U3, a >> np.uint64(61)), a)


@inlined
def from_halves(low, high):  # type: ignore[no-untyped-def]
    """low + 2^32 high modulo p, for any two words."""
    return add(reduce_wide(low, _U0), reduce_wide(high << _U32, high >> _U32))


@inlined
def ext_add(a0, a1, b0, b1):  # type: ignore[no-untyped-def]
    return add(a0, b0), add(a1, b1)


@inlined
def ext_sub(a0, a1, b0, b1):  # type: ignore[no-untyped-def]
    return sub(a0, b0), sub(a1, b1)


@inlined
def ext_mul(a0, a1, b0, b1):  # type: ignore[no-untyped-def]
    """(a0 + a1 X)(b0 + b1 X) with X^2 = 7."""
    return add(mul(a0, b0), times_seven(mul(a1, b1))), add(mul(a0, b1), mul(a1, b0))


@inlined
def ext_scale(a0, a1, b):  # type: ignore[no-untyped-def]
    """(a0 + a1 X) b for a base element b."""
    return mul(a0, b), mul(a1, b)


@njit(inline="always")
def pairs(x):  # type: ignore[no-untyped-def]
    """An extension array as it is. Only where LLVM knows that a row is two words does it use vector registers."""
    assert x.shape[x.ndim - 1] == _PAIR
    return x


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def from_signed(values: Any, out: Any) -> None:
    """out[i] = values[i] mod p.

    Args:
        values: int8, int16, int32 or int64[n]. out: uint64[n].
    """
    for i in range(values.shape[0]):
        value = np.int64(values[i])
        word = np.uint64(value)  # 2^64 too much if negative, and 2^64 = 2^32 - 1
        out[i] = word - (_EPSILON & mask(value < _S0))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def eq_expand(point: Any, out: Any) -> None:
    """out[i] = eq(i, point), where point[0] belongs to the most significant bit of i.

    Args:
        point: uint64[k, 2]. out: uint64[2^k, 2].
    """
    out = pairs(out)
    block = np.empty((_BLOCK, 2), np.uint64)  # apart from out, as LLVM sees
    out[_S0, 0], out[_S0, 1] = _U1, _U0
    size: Any = _S1
    for step in range(point.shape[0]):
        k = point.shape[0] - _S1 - step
        c0, c1 = point[k, 0], point[k, 1]
        for start in range(_S0, size, _BLOCK):
            stop = min(start + _BLOCK, size)
            low, high = out[start:stop], out[size + start : size + stop]
            for i in range(low.shape[0]):
                block[i, 0], block[i, 1] = ext_mul(low[i, 0], low[i, 1], c0, c1)
            for i in range(low.shape[0]):
                low[i, 0], low[i, 1] = sub(low[i, 0], block[i, 0]), sub(low[i, 1], block[i, 1])
            for i in range(low.shape[0]):
                high[i, 0], high[i, 1] = block[i, 0], block[i, 1]
        size += size


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fold_high(values: Any, r: Any, out: Any, first: Any, last: Any) -> None:
    """out[i] = v[i] + r (v[i + n/2] - v[i]) for i in first..last: the most significant variable becomes r.

    Args:
        values: uint64[n, 2]. r: uint64[2]. out: uint64[n/2, 2], which may be values[: n/2].
    """
    values, out = pairs(values), pairs(out)
    half = values.shape[0] >> _S1
    r0, r1 = r[0], r[1]
    block = np.empty((_BLOCK, 2), np.uint64)  # LLVM sees that it overlaps nothing, also where out is values
    for start in range(first, last, _BLOCK):
        stop = min(start + _BLOCK, last)
        low, high, target = values[start:stop], values[half + start : half + stop], out[start:stop]
        for i in range(low.shape[0]):
            a0, a1 = low[i, 0], low[i, 1]
            d0, d1 = ext_mul(r0, r1, sub(high[i, 0], a0), sub(high[i, 1], a1))
            block[i, 0], block[i, 1] = add(a0, d0), add(a1, d1)
        for i in range(low.shape[0]):
            target[i, 0], target[i, 1] = block[i, 0], block[i, 1]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fold_high_base(values: Any, r: Any, out: Any, first: Any, last: Any) -> None:
    """`fold_high` of base elements.

    Args:
        values: uint64[n]. r: uint64[2]. out: uint64[n/2, 2], apart from values.
    """
    out = pairs(out)
    half = values.shape[0] >> _S1
    r0, r1 = r[0], r[1]
    low, high, target = values[first:last], values[half + first : half + last], out[first:last]
    for i in range(low.shape[0]):
        a = low[i]
        d = sub(high[i], a)
        target[i, 0], target[i, 1] = add(a, mul(r0, d)), mul(r1, d)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def outer_add(target: Any, left: Any, right: Any, first: Any, last: Any) -> None:
    """target[i m + j] += left[i] right[j] for rows i in first..last.

    Args:
        target: uint64[l * m, 2]. left: uint64[l, 2]. right: uint64[m, 2].
    """
    target, left, right = pairs(target), pairs(left), pairs(right)
    m = right.shape[0]
    for i in range(first, last):
        c0, c1 = left[i, 0], left[i, 1]
        row = target[i * m : i * m + m]
        for j in range(m):
            d0, d1 = ext_mul(c0, c1, right[j, 0], right[j, 1])
            row[j, 0], row[j, 1] = add(row[j, 0], d0), add(row[j, 1], d1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def accumulate_rows(rows: Any, coefficients: Any, out: Any, first: Any, last: Any) -> None:
    """out[j] = sum over i of coefficients[i] rows[i, j], for columns j in first..last.

    Args:
        rows: uint64[r, n]. coefficients: uint64[r, 2]. out: uint64[n, 2].
    """
    out, coefficients = pairs(out), pairs(coefficients)
    for start in range(first, last, _BLOCK):
        stop = min(start + _BLOCK, last)
        target = out[start:stop]
        target[:] = _U0
        for i in range(rows.shape[0]):
            c0, c1 = coefficients[i, 0], coefficients[i, 1]
            row = rows[i, start:stop]
            for j in range(row.shape[0]):
                x = row[j]
                target[j, 0], target[j, 1] = add(target[j, 0], mul(c0, x)), add(target[j, 1], mul(c1, x))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def dot_ext(a: Any, b: Any) -> Any:
    """The sum of a[i] b[i], as two words; fewer than 2^32 terms.

    Args:
        a, b: uint64[n, 2].
    """
    assert a.shape[0] == b.shape[0]
    a, b = pairs(a), pairs(b)
    low0, low1, high0, high1 = _U0, _U0, _U0, _U0  # sums of half words, which do not wrap
    for i in range(a.shape[0]):
        p0, p1 = ext_mul(a[i, 0], a[i, 1], b[i, 0], b[i, 1])
        low0 += p0 & _EPSILON
        high0 += p0 >> _U32
        low1 += p1 & _EPSILON
        high1 += p1 >> _U32
    return from_halves(low0, high0), from_halves(low1, high1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def dot_base(a: Any, b: Any) -> Any:
    """The sum of a[i] b[i], as two words; fewer than 2^32 terms.

    Args:
        a: uint64[n, 2]. b: uint64[n].
    """
    assert a.shape[0] == b.shape[0]
    a = pairs(a)
    low0, low1, high0, high1 = _U0, _U0, _U0, _U0
    for i in range(a.shape[0]):
        p0, p1 = ext_scale(a[i, 0], a[i, 1], b[i])
        low0 += p0 & _EPSILON
        high0 += p0 >> _U32
        low1 += p1 & _EPSILON
        high1 += p1 >> _U32
    return from_halves(low0, high0), from_halves(low1, high1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def multiply_matrix(matrix: Any, values: Any, out: Any, first: Any, last: Any) -> None:
    """out[o, k, i] = sum over d of matrix[k, d] values[o, d, i], for o in first..last.

    Args:
        matrix: uint64[k, d, 2]. values: uint64[o, d, i, 2]. out: uint64[o, k, i, 2].
    """
    values, out, matrix = pairs(values), pairs(out), pairs(matrix)
    terms, inner = values.shape[1], values.shape[2]
    column = np.empty((terms, 2), np.uint64)
    for o in range(first, last):
        if inner < _WIDE:  # too short a loop for vectors: run along d
            for i in range(inner):
                for d in range(terms):
                    column[d, 0], column[d, 1] = values[o, d, i, 0], values[o, d, i, 1]
                for k in range(matrix.shape[0]):
                    out[o, k, i, 0], out[o, k, i, 1] = dot_ext(matrix[k], column)
            continue
        for k in range(matrix.shape[0]):
            target = out[o, k]
            target[:] = _U0
            for d in range(terms):
                c0, c1 = matrix[k, d, 0], matrix[k, d, 1]
                row = values[o, d]
                for i in range(inner):
                    p0, p1 = ext_mul(c0, c1, row[i, 0], row[i, 1])
                    target[i, 0], target[i, 1] = add(target[i, 0], p0), add(target[i, 1], p1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def multiply_matrix_base(matrix: Any, values: Any, out: Any, first: Any, last: Any) -> None:
    """`multiply_matrix` of base elements.

    Args:
        matrix: uint64[k, d, 2]. values: uint64[o, d, i]. out: uint64[o, k, i, 2].
    """
    out, matrix = pairs(out), pairs(matrix)
    terms, inner = values.shape[1], values.shape[2]
    column = np.empty(terms, np.uint64)
    for o in range(first, last):
        if inner < _WIDE:
            for i in range(inner):
                for d in range(terms):
                    column[d] = values[o, d, i]
                for k in range(matrix.shape[0]):
                    out[o, k, i, 0], out[o, k, i, 1] = dot_base(matrix[k], column)
            continue
        for k in range(matrix.shape[0]):
            accumulate_rows(values[o], matrix[k], out[o, k], _S0, inner)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def outer_base(left: Any, right: Any, out: Any) -> None:
    """out[i m + j] = left[i] right[j].

    Args:
        left: uint64[l]. right: uint64[m]. out: uint64[l * m].
    """
    m = right.shape[0]
    for i in range(left.shape[0]):
        c, row = left[i], out[i * m : i * m + m]
        for j in range(m):
            row[j] = mul(c, right[j])
