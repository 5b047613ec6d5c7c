"""Many multiples of G1's generator at once, for test set-ups: arrays in, arrays out.

A coordinate is eight 32-bit limbs, little-endian, in 64-bit words, in Montgomery form with radix 2^256. A
scalar is cut into 32 bytes; byte j with value d adds TABLE[j][d] = d * 256^j * G. Sums are affine; the
divisions of one step share one inversion over a block of scalars (Montgomery's trick). Adding byte j to the
sum of the lower ones never meets an exceptional case: the sum is s * G with s < 256^j <= d * 256^j and
s + d * 256^j < r, so the two points are neither equal nor opposite.

The naive twin is `vml.backends.ezkl.srs.g1_multiple`.

Source: Montgomery, "Speeding the Pollard and elliptic curve methods of factorization" (1987), section 10.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from vml.backends.ezkl.bn254 import P

Words = npt.NDArray[np.uint64]

LIMBS = 8
BLOCK = 512
_BLOCK = np.int64(BLOCK)
_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)


def limbs(value: int) -> Words:
    """An integer below 2^256 as eight 32-bit limbs."""
    return np.array([(value >> (32 * i)) & 0xFFFFFFFF for i in range(LIMBS)], np.uint64)


_P = limbs(P)
_P_MINUS_2 = limbs(P - 2)
_MINUS_P_INVERSE = np.uint64(-pow(P, -1, 1 << 32) % (1 << 32))
_MONTGOMERY_ONE = limbs((1 << 256) % P)


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _reduce_once(t: Words, top: Any, out: Words) -> None:
    """out = t or t - p, whichever is in [0, p), for t + top * 2^256 < 2p."""
    difference = np.empty(LIMBS, np.uint64)
    borrow = _ZERO
    for i in range(LIMBS):
        d = t[i] - _P[i] - borrow
        difference[i] = d & _MASK
        borrow = (d >> _SHIFT) & _ONE
    keep = top == _ZERO and borrow == _ONE
    for i in range(LIMBS):
        out[i] = t[i] if keep else difference[i]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mul(a: Words, b: Words, out: Words) -> None:
    """out = a * b / 2^256 mod p."""
    t = np.zeros(LIMBS + 2, np.uint64)
    for i in range(LIMBS):
        carry = _ZERO
        for j in range(LIMBS):
            s = t[j] + a[i] * b[j] + carry
            t[j] = s & _MASK
            carry = s >> _SHIFT
        s = t[LIMBS] + carry
        t[LIMBS] = s & _MASK
        t[LIMBS + 1] = s >> _SHIFT
        m = (t[0] * _MINUS_P_INVERSE) & _MASK
        carry = (t[0] + m * _P[0]) >> _SHIFT
        for j in range(1, LIMBS):
            s = t[j] + m * _P[j] + carry
            t[j - 1] = s & _MASK
            carry = s >> _SHIFT
        s = t[LIMBS] + carry
        t[LIMBS - 1] = s & _MASK
        t[LIMBS] = t[LIMBS + 1] + (s >> _SHIFT)
    _reduce_once(t[:LIMBS], t[LIMBS], out)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sub(a: Words, b: Words, out: Words) -> None:
    """out = a - b mod p."""
    borrow = _ZERO
    for i in range(LIMBS):
        d = a[i] - b[i] - borrow
        out[i] = d & _MASK
        borrow = (d >> _SHIFT) & _ONE
    if borrow == _ONE:
        carry = _ZERO
        for i in range(LIMBS):
            s = out[i] + _P[i] + carry
            out[i] = s & _MASK
            carry = s >> _SHIFT


@njit(cache=True)  # type: ignore[untyped-decorator]
def _inverse(a: Words, out: Words) -> None:
    """out = 1 / a in Montgomery form, as a^(p - 2)."""
    result = _MONTGOMERY_ONE.copy()
    for i in range(LIMBS - 1, -1, -1):
        for bit in range(31, -1, -1):
            _mul(result, result, result)
            if (_P_MINUS_2[i] >> np.uint64(bit)) & _ONE:
                _mul(result, a, result)
    out[:] = result


@njit(cache=True)  # type: ignore[untyped-decorator]
def _block(digits: npt.NDArray[np.uint8], table: Words, x: Words, y: Words) -> None:
    """Sum one block of scalars; x and y take the affine result."""
    n = digits.shape[0]
    started = np.zeros(n, np.bool_)
    prefix = np.empty((n + 1, LIMBS), np.uint64)
    delta = np.empty((n, LIMBS), np.uint64)
    inverse = np.empty(LIMBS, np.uint64)
    each = np.empty(LIMBS, np.uint64)
    slope = np.empty(LIMBS, np.uint64)
    square = np.empty(LIMBS, np.uint64)
    work = np.empty(LIMBS, np.uint64)
    for j in range(digits.shape[1]):
        prefix[0] = _MONTGOMERY_ONE
        for i in range(n):
            d = digits[i, j]
            if d != _ZERO and started[i]:
                _sub(table[j, d, 0], x[i], delta[i])
                _mul(prefix[i], delta[i], prefix[i + 1])
            else:
                prefix[i + 1] = prefix[i]
        _inverse(prefix[n], inverse)
        for i in range(n - 1, -1, -1):
            d = digits[i, j]
            if d == _ZERO:
                continue
            if not started[i]:
                x[i] = table[j, d, 0]
                y[i] = table[j, d, 1]
                started[i] = True
                continue
            _mul(inverse, prefix[i], each)
            _mul(inverse, delta[i], inverse)
            _sub(table[j, d, 1], y[i], work)
            _mul(work, each, slope)
            _mul(slope, slope, square)
            _sub(square, x[i], work)
            _sub(work, table[j, d, 0], square)
            _sub(x[i], square, work)
            _mul(slope, work, each)
            _sub(each, y[i], y[i])
            x[i] = square


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def multiples(digits: npt.NDArray[np.uint8], table: Words) -> Words:
    """Multiply the generator by every scalar.

    Args:
        digits: uint8 [n, 32], scalars in little-endian bytes, each in 1 to r - 1.
        table: uint64 [32, 256, 2, 8], TABLE above in Montgomery limbs; row 0 of each byte is unused.

    Returns:
        uint64 [n, 2, 8]: affine coordinates in Montgomery limbs.
    """
    n = digits.shape[0]
    out = np.zeros((n, 2, LIMBS), np.uint64)
    blocks = -(-n // _BLOCK)
    for block in prange(blocks):
        start = block * _BLOCK
        stop = min(start + _BLOCK, n)
        _block(digits[start:stop], table, out[start:stop, 0], out[start:stop, 1])
    return out
