"""numba kernels of the executor: arrays in, arrays out, large tensors only (small ones stay in numpy).

They run without the interpreter lock, block by block on the threads of ``vml.threads``.

Every literal that meets an int64 is a typed constant: numba would otherwise pick a type of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

ZERO, ONE = np.int64(0), np.int64(1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def rescale_rows(x: Any, bias: Any, multipliers: Any, shift: Any, lo: Any, hi: Any, out: Any) -> None:
    """out[r, c] = clamp(((x[r, c] + bias[c]) * multipliers[c] + 2^(shift-1)) >> shift, lo, hi).

    Args:
        x: float64 (exact integers) or any integer [rows, columns], C-contiguous.
        bias, multipliers: int64[columns].
        shift, lo, hi: int64.
        out: any integer [rows, columns].
    """
    half = ONE << (shift - ONE)
    rows, columns = x.shape
    for r in range(rows):
        for c in range(columns):
            y = ((np.int64(x[r, c]) + bias[c]) * multipliers[c] + half) >> shift
            out[r, c] = max(lo, min(hi, y))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def affine_flat(a: Any, alpha: Any, b: Any, beta: Any, gamma: Any, out: Any) -> None:
    """out = alpha * a + beta * b + gamma for flat integer arrays of one length; factors int64."""
    for i in range(a.shape[0]):
        out[i] = alpha * np.int64(a[i]) + beta * np.int64(b[i]) + gamma


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def lookup_flat(x: Any, table: Any, base: Any, out: Any) -> None:
    """out[i] = table[x[i] - base] for flat integer arrays; base int64."""
    for i in range(x.shape[0]):
        out[i] = table[np.int64(x[i]) - base]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def dot_offsets(a: Any, b: Any, a_out: Any, b_out: Any, a_terms: Any, b_terms: Any, out: Any) -> None:
    """out[o] = sum_k a[a_out[o] + a_terms[k]] * b[b_out[o] + b_terms[k]]: products with few terms and no shared rows.

    Args:
        a, b: flat integers. a_out, b_out: int64[outputs]. a_terms, b_terms: int64[terms]. out: int64[outputs].
    """
    for o in range(out.shape[0]):
        total = ZERO
        for k in range(a_terms.shape[0]):
            total += np.int64(a[a_out[o] + a_terms[k]]) * np.int64(b[b_out[o] + b_terms[k]])
        out[o] = total
