"""numba kernels of the fraction prover: one pass over memory for each round, a range of rows for each thread.

With eq(r, x) = eq(r_1, x_1) eq(rest, x_2 ..), a round's polynomial is eq(r_1, t) h(t) times what was bound before,
and h has degree 2 only: of h the kernels sum h(0) and the coefficient of t^2, and the claim gives the rest::

    h(t) = sum_i eq(rest, i) [p0 q1 + q0 m](t, i),        m = p1 + fold q1

m stands in p1's place, so that a term costs two products. A table of n = 2 rows * width entries is read in pairs i
and i + n/2. Pairs come in rows of `width`: i = row * width + column, eq(rest, i) = eq_rows[row] eq_columns[column].

Sources: A. Gruen, "Some Improvements for the PIOP for ZeroCheck", eprint 2024/108 (h in place of the whole
polynomial); Q. Dao and J. Thaler, "More Optimizations to Sum-Check Proving", eprint 2024/1210 (eq in two tables).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from vml.backends.sumcheck.kernels import fold_range, high_half, joined, load, low_half
from vml.field.kernels import ext_add, ext_mul, ext_sub

_U0, _U1 = np.uint64(0), np.uint64(1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def add_fractions(p: Any, q: Any, first: Any, last: Any, p_out: Any, q_out: Any) -> None:
    """A layer from its children, for first <= i < last: out = (p0 q1 + p1 q0) / (q0 q1), halves against halves.

    Args:
        p, q: extension uint64[2, n, 2]. p_out, q_out: uint64[n, 2]. first, last: integers.
    """
    p0, p1, q0, q1 = p[0].reshape(-1), p[1].reshape(-1), q[0].reshape(-1), q[1].reshape(-1)
    p_flat, q_flat = p_out.reshape(-1), q_out.reshape(-1)
    for i in range(np.uint64(first), np.uint64(last)):
        a0, a1 = load(p0, i)
        b0, b1 = load(q1, i)
        a0, a1 = ext_mul(a0, a1, b0, b1)
        b0, b1 = load(p1, i)
        c0, c1 = load(q0, i)
        b0, b1 = ext_mul(b0, b1, c0, c1)
        p_flat[i + i], p_flat[i + i + _U1] = ext_add(a0, a1, b0, b1)
    for i in range(np.uint64(first), np.uint64(last)):
        a0, a1 = load(q0, i)
        b0, b1 = load(q1, i)
        q_flat[i + i], q_flat[i + i + _U1] = ext_mul(a0, a1, b0, b1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def suffix_tables(point: Any) -> Any:
    """eq tables of every end of a point: entries 2^k .. 2^(k+1) are that of the last k coordinates.

    Args:
        point: extension uint64[n, 2].
    """
    count = point.shape[0]
    tables = np.zeros((np.int64(2) << count, np.int64(2)), np.uint64)
    flat = tables.reshape(-1)
    flat[np.uint64(2)] = _U1
    for k in range(count):
        size = _U1 << np.uint64(k)
        r0, r1 = point[count - np.int64(1) - k, 0], point[count - np.int64(1) - k, 1]
        for i in range(size):
            x0, x1 = load(flat, size + i)
            h0, h1 = ext_mul(x0, x1, r0, r1)
            low, high = size + size + i, size + size + size + i
            flat[low + low], flat[low + low + _U1] = ext_sub(x0, x1, h0, h1)
            flat[high + high], flat[high + high + _U1] = h0, h1
    return tables


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _row(p0: Any, m: Any, q0: Any, q1: Any, half: Any, eq: Any, start: Any) -> Any:
    """h(0) and the coefficient of t^2, summed over the row that starts at this pair; tables flat, integers unsigned."""
    a0l = a0h = a1l = a1h = c0l = c0h = c1l = c1h = _U0
    for column in range(np.uint64(eq.shape[0]) >> _U1):
        i, j = start + column, start + column + half
        e0, e1 = load(eq, column)
        s0, s1 = load(p0, i)
        t0, t1 = load(q1, i)
        u0, u1 = load(q0, i)
        v0, v1 = load(m, i)
        x0, x1 = ext_mul(s0, s1, t0, t1)
        y0, y1 = ext_mul(u0, u1, v0, v1)
        x0, x1 = ext_add(x0, x1, y0, y1)
        x0, x1 = ext_mul(x0, x1, e0, e1)
        a0l += low_half(x0)
        a0h += high_half(x0)
        a1l += low_half(x1)
        a1h += high_half(x1)
        x0, x1 = load(p0, j)
        s0, s1 = ext_sub(x0, x1, s0, s1)
        x0, x1 = load(q1, j)
        t0, t1 = ext_sub(x0, x1, t0, t1)
        x0, x1 = load(q0, j)
        u0, u1 = ext_sub(x0, x1, u0, u1)
        x0, x1 = load(m, j)
        v0, v1 = ext_sub(x0, x1, v0, v1)
        x0, x1 = ext_mul(s0, s1, t0, t1)
        y0, y1 = ext_mul(u0, u1, v0, v1)
        x0, x1 = ext_add(x0, x1, y0, y1)
        x0, x1 = ext_mul(x0, x1, e0, e1)
        c0l += low_half(x0)
        c0h += high_half(x0)
        c1l += low_half(x1)
        c1h += high_half(x1)
    return joined(a0l, a0h), joined(a1l, a1h), joined(c0l, c0h), joined(c1l, c1h)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _mix_range(p1: Any, q1: Any, f0: Any, f1: Any, first: Any, last: Any, m: Any) -> None:
    """m = p1 + fold q1, all flat, for first <= i < last, unsigned."""
    for i in range(first, last):
        x0, x1 = load(p1, i)
        y0, y1 = load(q1, i)
        y0, y1 = ext_mul(y0, y1, f0, f1)
        m[i + i], m[i + i + _U1] = ext_add(x0, x1, y0, y1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def mix_and_sum(p: Any, q: Any, f0: Any, f1: Any, m: Any, eq_rows: Any, eq_columns: Any, first: Any, last: Any) -> Any:
    """First round of a layer: m = p1 + fold q1, and the sums, for rows first .. last.

    Args:
        p, q: extension uint64[2, n, 2]. m: uint64[n, 2], written. f0, f1: fold.
        eq_rows, eq_columns: extension arrays. first, last: integers.

    Returns:
        h(0) and the coefficient of t^2: four words.
    """
    p0, p1, q0, q1 = p[0].reshape(-1), p[1].reshape(-1), q[0].reshape(-1), q[1].reshape(-1)
    mixed, rows, columns = m.reshape(-1), eq_rows.reshape(-1), eq_columns.reshape(-1)
    half, width = np.uint64(m.shape[0]) >> _U1, np.uint64(eq_columns.shape[0])
    a0 = a1 = c0 = c1 = _U0
    for row in range(np.uint64(first), np.uint64(last)):
        start = row * width
        _mix_range(p1, q1, f0, f1, start, start + width, mixed)
        _mix_range(p1, q1, f0, f1, start + half, start + half + width, mixed)
        x0, x1, y0, y1 = _row(p0, mixed, q0, q1, half, columns, start)
        e0, e1 = load(rows, row)
        x0, x1 = ext_mul(x0, x1, e0, e1)
        y0, y1 = ext_mul(y0, y1, e0, e1)
        a0, a1 = ext_add(a0, a1, x0, x1)
        c0, c1 = ext_add(c0, c1, y0, y1)
    return a0, a1, c0, c1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fold_and_sum(
    p0: Any, m: Any, q: Any, r0: Any, r1: Any, out: Any, eq_rows: Any, eq_columns: Any, first: Any, last: Any
) -> Any:
    """Every later round: bind a variable to r in all tables, and the sums over what comes out, for rows first .. last.

    Args:
        p0, m: extension uint64[2 n, 2]. q: uint64[2, 2 n, 2]. r0, r1: r.
        out: uint64[4, n, 2], written: p0, m, q0, q1 folded.
        eq_rows, eq_columns: extension arrays. first, last: integers.

    Returns:
        h(0) and the coefficient of t^2: four words.
    """
    p0_in, m_in, q0_in, q1_in = p0.reshape(-1), m.reshape(-1), q[0].reshape(-1), q[1].reshape(-1)
    p0_out, m_out, q0_out, q1_out = out[0].reshape(-1), out[1].reshape(-1), out[2].reshape(-1), out[3].reshape(-1)
    rows, columns = eq_rows.reshape(-1), eq_columns.reshape(-1)
    bound = np.uint64(out.shape[1])
    half, width = bound >> _U1, np.uint64(eq_columns.shape[0])
    a0 = a1 = c0 = c1 = _U0
    for row in range(np.uint64(first), np.uint64(last)):
        start = row * width
        for begin in (start, start + half):
            end = begin + width
            fold_range(p0_in, bound, r0, r1, begin, end, p0_out)
            fold_range(m_in, bound, r0, r1, begin, end, m_out)
            fold_range(q0_in, bound, r0, r1, begin, end, q0_out)
            fold_range(q1_in, bound, r0, r1, begin, end, q1_out)
        x0, x1, y0, y1 = _row(p0_out, m_out, q0_out, q1_out, half, columns, start)
        e0, e1 = load(rows, row)
        x0, x1 = ext_mul(x0, x1, e0, e1)
        y0, y1 = ext_mul(y0, y1, e0, e1)
        a0, a1 = ext_add(a0, a1, x0, x1)
        c0, c1 = ext_add(c0, c1, y0, y1)
    return a0, a1, c0, c1
