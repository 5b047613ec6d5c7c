"""numba scalars and loops that all sumchecks share: folding a table, and sums that are reduced once.

Loops are kept such that they run in vector registers: they write one array that they do not read, or none; tables
are seen flat, two words an element; indices are unsigned, so that no index can count from the end.

A sum of elements is collected as two sums of half words, which stay below 2^64 for 2^32 terms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from vml.field.kernels import add, ext_add, ext_mul, ext_sub, reduce_wide
from vml.field.kernels_inlined import inlined

_U0, _U1, _U32 = np.uint64(0), np.uint64(1), np.uint64(32)
_MASK = np.uint64(2**32 - 1)


@inlined
def low_half(a):  # type: ignore[no-untyped-def]
    return a & _MASK


@inlined
def high_half(a):  # type: ignore[no-untyped-def]
    return a >> _U32


@inlined
def joined(low, high):  # type: ignore[no-untyped-def]
    """low + 2^32 high modulo p: the sum whose halves were summed apart."""
    return add(reduce_wide(low, _U0), reduce_wide(high << _U32, high >> _U32))


@njit(inline="always")
def load(flat, i):  # type: ignore[no-untyped-def]
    """Element i of a flat extension table; i is unsigned."""
    return flat[i + i], flat[i + i + _U1]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fold_range(table: Any, half: Any, r0: Any, r1: Any, first: Any, last: Any, out: Any) -> None:
    """out[i] = table[i] + r (table[i + half] - table[i]) for first <= i < last: r = r0 + r1 X for the highest variable.

    Args:
        table: flat extension uint64[4 half]. out: another one, uint64[2 half].
        half, first, last: uint64. r0, r1: words.
    """
    for i in range(first, last):
        a0, a1 = load(table, i)
        d0, d1 = load(table, i + half)
        d0, d1 = ext_sub(d0, d1, a0, a1)
        d0, d1 = ext_mul(d0, d1, r0, r1)
        out[i + i], out[i + i + _U1] = ext_add(a0, a1, d0, d1)
