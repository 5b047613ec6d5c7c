"""numba kernels between columns and the arrays of the sub-protocols; canonical elements in and out.

In kernels every literal is a typed constant: numba promotes uint64 mixed with a bare literal to a signed or
floating type without a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from vml.field.kernels import add, ext_add, mask, mul, pairs, sub

_S0 = np.int64(0)
_EPSILON = np.uint64(2**32 - 1)  # 2^64 mod p


@njit(inline="always")
def from_int64(value):  # type: ignore[no-untyped-def]
    """An int64 modulo p."""
    return np.uint64(value) - (_EPSILON & mask(value < _S0))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def scatter_add(target: Any, places: Any, values: Any) -> None:
    """target[places[i]] += values[i].

    Args:
        target, values: uint64[n, 2]. places: int64[n].
    """
    target, values = pairs(target), pairs(values)
    for i in range(places.shape[0]):
        k = places[i]
        target[k, 0], target[k, 1] = ext_add(target[k, 0], target[k, 1], values[i, 0], values[i, 1])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def add_scaled(target: Any, values: Any, factor: Any) -> None:
    """target[i] += factor * values[i] for base elements.

    Args:
        target, values: uint64[n]. factor: uint64.
    """
    for i in range(values.shape[0]):
        target[i] = add(target[i], mul(factor, values[i]))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def add_products(target: Any, left: Any, right: Any) -> None:
    """target[i] += left[i] * right[i] for base elements, uint64[n]."""
    for i in range(target.shape[0]):
        target[i] = add(target[i], mul(left[i], right[i]))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fingerprints(keys: Any, values: Any, offset: Any, beta: Any, out: Any) -> None:
    """out[i] = offset - keys[i] - beta * values[i]; no values at all count as zeros.

    Args:
        keys, values: int64[n], values possibly empty. offset, beta: uint64[2]. out: uint64[n, 2].
    """
    out = pairs(out)
    o0, o1, b0, b1 = offset[0], offset[1], beta[0], beta[1]
    plain = values.shape[0] == _S0
    for i in range(keys.shape[0]):
        c0, c1 = sub(o0, from_int64(keys[i])), o1
        if not plain:
            v = from_int64(values[i])
            c0, c1 = sub(c0, mul(b0, v)), sub(c1, mul(b1, v))
        out[i, 0], out[i, 1] = c0, c1
