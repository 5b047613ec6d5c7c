"""numba kernels of the product prover: one pass over memory for each round, a range of rows for each thread.

A round's polynomial is g(t) = sum_i w(t, i) a(t, i) b(t, i), where each factor is linear in t: its values at 2 and 3
are one and two differences beyond that at 1. Tables are read in pairs i and i + n/2, in rows of `width` pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from vml.backends.sumcheck.kernels import fold_range, high_half, joined, load, low_half
from vml.field.kernels import ext_add, ext_mul, ext_sub

_U0, _U1 = np.uint64(0), np.uint64(1)
_ROW = np.uint64(256)  # pairs: three folded tables, both halves, fit the first cache


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sum(w: Any, a: Any, b: Any, first: Any, last: Any) -> Any:
    """Sum of w a b over first <= i < last; tables flat, integers unsigned."""
    l0 = h0 = l1 = h1 = _U0
    for i in range(first, last):
        x0, x1 = load(w, i)
        y0, y1 = load(a, i)
        x0, x1 = ext_mul(x0, x1, y0, y1)
        y0, y1 = load(b, i)
        x0, x1 = ext_mul(x0, x1, y0, y1)
        l0 += low_half(x0)
        h0 += high_half(x0)
        l1 += low_half(x1)
        h1 += high_half(x1)
    return joined(l0, h0), joined(l1, h1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sum_beyond(w: Any, a: Any, b: Any, half: Any, first: Any, last: Any) -> Any:
    """g(2) and g(3) of the pairs first <= i < last; tables flat, integers unsigned."""
    l0 = h0 = l1 = h1 = k0 = g0 = k1 = g1 = _U0
    for i in range(first, last):
        w0, w1 = load(w, i + half)
        a0, a1 = load(a, i + half)
        b0, b1 = load(b, i + half)
        x0, x1 = load(w, i)
        dw0, dw1 = ext_sub(w0, w1, x0, x1)
        x0, x1 = load(a, i)
        da0, da1 = ext_sub(a0, a1, x0, x1)
        x0, x1 = load(b, i)
        db0, db1 = ext_sub(b0, b1, x0, x1)
        w0, w1 = ext_add(w0, w1, dw0, dw1)
        a0, a1 = ext_add(a0, a1, da0, da1)
        b0, b1 = ext_add(b0, b1, db0, db1)
        x0, x1 = ext_mul(w0, w1, a0, a1)
        x0, x1 = ext_mul(x0, x1, b0, b1)
        l0 += low_half(x0)
        h0 += high_half(x0)
        l1 += low_half(x1)
        h1 += high_half(x1)
        w0, w1 = ext_add(w0, w1, dw0, dw1)
        a0, a1 = ext_add(a0, a1, da0, da1)
        b0, b1 = ext_add(b0, b1, db0, db1)
        x0, x1 = ext_mul(w0, w1, a0, a1)
        x0, x1 = ext_mul(x0, x1, b0, b1)
        k0 += low_half(x0)
        g0 += high_half(x0)
        k1 += low_half(x1)
        g1 += high_half(x1)
    return joined(l0, h0), joined(l1, h1), joined(k0, g0), joined(k1, g1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def first_sums(w: Any, a: Any, b: Any, first: Any, last: Any) -> Any:
    """g(0), g(1), g(2), g(3) of an instance's first round, for the pairs first .. last: eight words.

    Args:
        w, a, b: extension uint64[n, 2]. first, last: integers.
    """
    w_flat, a_flat, b_flat = w.reshape(-1), a.reshape(-1), b.reshape(-1)
    half = np.uint64(w.shape[0]) >> _U1
    begin, end = np.uint64(first), np.uint64(last)
    u0 = u1 = v0 = v1 = x0 = x1 = y0 = y1 = _U0
    while begin < end:
        stop = min(end, begin + _ROW)
        s0, s1 = _sum(w_flat, a_flat, b_flat, begin, stop)
        u0, u1 = ext_add(u0, u1, s0, s1)
        s0, s1 = _sum(w_flat, a_flat, b_flat, begin + half, stop + half)
        v0, v1 = ext_add(v0, v1, s0, s1)
        s0, s1, t0, t1 = _sum_beyond(w_flat, a_flat, b_flat, half, begin, stop)
        x0, x1 = ext_add(x0, x1, s0, s1)
        y0, y1 = ext_add(y0, y1, t0, t1)
        begin = stop
    return u0, u1, v0, v1, x0, x1, y0, y1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fold_and_sum(w: Any, a: Any, b: Any, r0: Any, r1: Any, out: Any, first: Any, last: Any) -> Any:
    """A later round of one instance: bind a variable to r, and g(0), g(2), g(3) of what comes out.

    Args:
        w, a, b: extension uint64[2 n, 2]. r0, r1: r. out: uint64[3, n, 2], written: the three of them, folded.
        first, last: integers, the pairs of `out` to handle, 0 .. n / 2.

    Returns:
        Six words.
    """
    w_in, a_in, b_in = w.reshape(-1), a.reshape(-1), b.reshape(-1)
    w_out, a_out, b_out = out[0].reshape(-1), out[1].reshape(-1), out[2].reshape(-1)
    bound = np.uint64(out.shape[1])
    half = bound >> _U1
    begin, end = np.uint64(first), np.uint64(last)
    u0 = u1 = x0 = x1 = y0 = y1 = _U0
    while begin < end:
        stop = min(end, begin + _ROW)
        for offset in (_U0, half):
            fold_range(w_in, bound, r0, r1, begin + offset, stop + offset, w_out)
            fold_range(a_in, bound, r0, r1, begin + offset, stop + offset, a_out)
            fold_range(b_in, bound, r0, r1, begin + offset, stop + offset, b_out)
        s0, s1 = _sum(w_out, a_out, b_out, begin, stop)
        u0, u1 = ext_add(u0, u1, s0, s1)
        s0, s1, t0, t1 = _sum_beyond(w_out, a_out, b_out, half, begin, stop)
        x0, x1 = ext_add(x0, x1, s0, s1)
        y0, y1 = ext_add(y0, y1, t0, t1)
        begin = stop
    return u0, u1, x0, x1, y0, y1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fold_and_sum_all(tables: Any, shares: Any, r0: Any, r1: Any, out: Any, step: Any, first: Any, last: Any) -> Any:
    """`fold_and_sum` over many instances of one size, each result times the instance's share, all added.

    Args:
        tables: extension uint64[m, 3, 2 n, 2]. shares: uint64[m, 2]. out: uint64[m, 3, n, 2], written.
        step: pairs in a unit of work, a divisor of n / 2. first, last: units, 0 .. m n / (2 step).

    Returns:
        Six words.
    """
    units = (out.shape[2] >> np.int64(1)) // step
    u0 = u1 = x0 = x1 = y0 = y1 = _U0
    for unit in range(first, last):
        j, begin = unit // units, unit % units * step
        t = tables[j]
        s = fold_and_sum(t[0], t[1], t[2], r0, r1, out[j], begin, begin + step)
        e0, e1 = shares[j, 0], shares[j, 1]
        m0, m1 = ext_mul(s[0], s[1], e0, e1)
        u0, u1 = ext_add(u0, u1, m0, m1)
        m0, m1 = ext_mul(s[2], s[3], e0, e1)
        x0, x1 = ext_add(x0, x1, m0, m1)
        m0, m1 = ext_mul(s[4], s[5], e0, e1)
        y0, y1 = ext_add(y0, y1, m0, m1)
    return u0, u1, x0, x1, y0, y1
