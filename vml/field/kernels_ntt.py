"""numba kernels of `vml.field.ntt`: one pass of a Stockham transform, and dot products with tables of powers.

A transform of N = n s words, Stockham's autosort form: a pass of radix R reads x[q + s (p + j n/R)] for
j = 0..R-1, takes their R-point transform, multiplies output k by w_n^(p k) and writes it to y[q + s (R p + k)].
The next pass has n/R and R s. Results come out in natural order, and all loops over q run along memory.

Source: R. C. Temperton, "Self-sorting mixed-radix fast Fourier transforms", J. Comput. Phys. 52, 1983.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from vml.field.goldilocks import P
from vml.field.kernels import add, mul, sub
from vml.field.kernels_inlined import inlined

LIMB_BITS = 22
TERMS = 1024  # products of 22 and 32 bits, each below 2^54, that a word holds

_U0, _U22, _U32, _U44 = (np.uint64(n) for n in (0, LIMB_BITS, 32, 2 * LIMB_BITS))
_LIMB = np.uint64(2**LIMB_BITS - 1)
_LOW = np.uint64(2**32 - 1)
_U1 = np.uint64(1)
_2_22, _2_32, _2_44, _2_54, _2_76 = (np.uint64(2**n % P) for n in (22, 32, 44, 54, 76))
_S0, _S1, _S2, _S3, _S4, _S5, _S6, _S7, _S8 = (np.int64(n) for n in range(9))


@inlined
def _transform_4(a, b, c, d, i):  # type: ignore[no-untyped-def]
    """The 4-point transform with primitive root i."""
    s, t = add(a, c), sub(a, c)
    u, v = add(b, d), mul(sub(b, d), i)
    return add(s, u), add(t, v), sub(s, u), sub(t, v)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def first_pass_8(x: Any, roots: Any, twiddles: Any, y: Any, first: Any, last: Any) -> None:
    """The pass of radix 8 with s = 1, of a message that fills 1, 2, 4 or all of the 8 parts and is zero beyond.

    Args:
        x: uint64[parts * m], the message. roots: uint64[4], the powers 0..3 of w_8.
        twiddles: uint64[8, m], w_N^(k p). y: uint64[8 m]. first, last: the range of p.
    """
    m = twiddles.shape[1]
    w1, i, w3 = roots[1], roots[2], roots[3]
    t1, t2, t3 = twiddles[1, first:last], twiddles[2, first:last], twiddles[3, first:last]
    t4, t5, t6, t7 = (
        twiddles[4, first:last],
        twiddles[5, first:last],
        twiddles[6, first:last],
        twiddles[7, first:last],
    )
    out = y[first * _S8 : last * _S8]
    parts = x.shape[0] // m
    x0 = x[first:last]
    x1 = x[m + first : m + last] if parts > _S1 else x0
    x2 = x[m * _S2 + first : m * _S2 + last] if parts > _S2 else x0
    x3 = x[m * _S3 + first : m * _S3 + last] if parts > _S2 else x0
    if parts == _S8:
        x4, x5 = x[m * _S4 + first : m * _S4 + last], x[m * _S5 + first : m * _S5 + last]
        x6, x7 = x[m * _S6 + first : m * _S6 + last], x[m * _S7 + first : m * _S7 + last]
        for p in range(x0.shape[0]):
            e = _transform_4(add(x0[p], x4[p]), add(x1[p], x5[p]), add(x2[p], x6[p]), add(x3[p], x7[p]), i)
            b, c, d = mul(sub(x1[p], x5[p]), w1), mul(sub(x2[p], x6[p]), i), mul(sub(x3[p], x7[p]), w3)
            o = _transform_4(sub(x0[p], x4[p]), b, c, d, i)
            at = p * _S8
            out[at], out[at + _S2] = e[0], mul(e[1], t2[p])
            out[at + _S4], out[at + _S6] = mul(e[2], t4[p]), mul(e[3], t6[p])
            out[at + _S1], out[at + _S3] = mul(o[0], t1[p]), mul(o[1], t3[p])
            out[at + _S5], out[at + _S7] = mul(o[2], t5[p]), mul(o[3], t7[p])
    elif parts == _S4:
        for p in range(x0.shape[0]):
            e = _transform_4(x0[p], x1[p], x2[p], x3[p], i)
            o = _transform_4(x0[p], mul(x1[p], w1), mul(x2[p], i), mul(x3[p], w3), i)
            at = p * _S8
            out[at], out[at + _S2] = e[0], mul(e[1], t2[p])
            out[at + _S4], out[at + _S6] = mul(e[2], t4[p]), mul(e[3], t6[p])
            out[at + _S1], out[at + _S3] = mul(o[0], t1[p]), mul(o[1], t3[p])
            out[at + _S5], out[at + _S7] = mul(o[2], t5[p]), mul(o[3], t7[p])
    elif parts == _S2:
        for p in range(x0.shape[0]):
            a, b = x0[p], x1[p]
            b1, b2, b3 = mul(b, w1), mul(b, i), mul(b, w3)
            at = p * _S8
            out[at], out[at + _S4] = add(a, b), mul(sub(a, b), t4[p])
            out[at + _S1], out[at + _S5] = mul(add(a, b1), t1[p]), mul(sub(a, b1), t5[p])
            out[at + _S2], out[at + _S6] = mul(add(a, b2), t2[p]), mul(sub(a, b2), t6[p])
            out[at + _S3], out[at + _S7] = mul(add(a, b3), t3[p]), mul(sub(a, b3), t7[p])
    else:
        for p in range(x0.shape[0]):
            a = x0[p]
            at = p * _S8
            out[at], out[at + _S1], out[at + _S2] = a, mul(a, t1[p]), mul(a, t2[p])
            out[at + _S3], out[at + _S4], out[at + _S5] = mul(a, t3[p]), mul(a, t4[p]), mul(a, t5[p])
            out[at + _S6], out[at + _S7] = mul(a, t6[p]), mul(a, t7[p])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def pass_4(x: Any, twiddles: Any, i: Any, s: Any, y: Any, first: Any, last: Any, low: Any, high: Any) -> None:
    """A pass of radix 4.

    Args:
        x, y: uint64[N], apart. twiddles: uint64[4, m], w_n^(k p) with n = N / s = 4 m. i: uint64, w_4. s: int64.
        first, last: the range of p. low, high: the range of q.
    """
    m = x.shape[0] // (s * _S4)
    for p in range(first, last):
        w1, w2, w3 = twiddles[1, p], twiddles[2, p], twiddles[3, p]
        a, b = x[s * p + low : s * p + high], x[s * (p + m) + low : s * (p + m) + high]
        c = x[s * (p + m * _S2) + low : s * (p + m * _S2) + high]
        d = x[s * (p + m * _S3) + low : s * (p + m * _S3) + high]
        out = y[s * _S4 * p : s * _S4 * (p + _S1)]
        y0, y1, y2, y3 = (
            out[low:high],
            out[s + low : s + high],
            out[s * _S2 + low : s * _S2 + high],
            out[s * _S3 + low : s * _S3 + high],
        )
        for q in range(high - low):
            z0, z1, z2, z3 = _transform_4(a[q], b[q], c[q], d[q], i)
            y0[q], y1[q], y2[q], y3[q] = z0, mul(z1, w1), mul(z2, w2), mul(z3, w3)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def pass_2(x: Any, y: Any, first: Any, last: Any) -> None:
    """The last pass, of radix 2, with n = 2: no twiddles.

    Args:
        x, y: uint64[N], apart. first, last: the range of q, of N/2.
    """
    half = x.shape[0] >> _S1
    a, b = x[first:last], x[half + first : half + last]
    low, high = y[first:last], y[half + first : half + last]
    for q in range(a.shape[0]):
        low[q] = add(a[q], b[q])
    for q in range(a.shape[0]):
        high[q] = sub(a[q], b[q])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def split_limbs(words: Any, limbs: Any) -> None:
    """The limbs of 22, 22 and 20 bits of every word.

    Args:
        words: uint64[n]. limbs: uint32[3, n].
    """
    for k in range(words.shape[0]):
        limbs[0, k] = np.uint32(words[k] & _LIMB)
        limbs[1, k] = np.uint32((words[k] >> _U22) & _LIMB)
        limbs[2, k] = np.uint32(words[k] >> _U44)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def evaluate_rows(rows: Any, tables: Any, steps: Any, out: Any) -> None:
    """out[q, i] = sum over k of rows[i, k] z_q^k, block by block of t <= TERMS coefficients, last block first.

    Within a block nothing is reduced: a limb times a half word is below 2^54, and a word holds 1024 of these.

    Args:
        rows: uint64[r, n]. tables: uint32[points, 3, t], limbs of z_q^0 .. z_q^(t-1). steps: uint64[points], z_q^t.
        out: uint64[points, r], of zeros.
    """
    terms = tables.shape[2]
    blocks = (rows.shape[1] + terms - _S1) // terms
    for i in range(rows.shape[0]):
        for step in range(blocks):
            start = (blocks - _S1 - step) * terms
            chunk = rows[i, start : min(start + terms, rows.shape[1])]
            for q in range(tables.shape[0]):
                l0, l1, l2 = tables[q, 0], tables[q, 1], tables[q, 2]
                a0, a1, a2, b0, b1, b2 = _U0, _U0, _U0, _U0, _U0, _U0
                for k in range(chunk.shape[0]):
                    x, y = chunk[k] & _LOW, chunk[k] >> _U32
                    a0 += x * l0[k]
                    a1 += x * l1[k]
                    a2 += x * l2[k]
                    b0 += y * l0[k]
                    b1 += y * l1[k]
                    b2 += y * l2[k]
                total = add(add(mul(a0, _U1), mul(a1, _2_22)), mul(a2, _2_44))
                total = add(total, mul(b0, _2_32))
                total = add(total, add(mul(b1, _2_54), mul(b2, _2_76)))
                out[q, i] = add(mul(out[q, i], steps[q]), total)
