"""Reed-Solomon encoding of rows, and values of their polynomials at single points, over all threads.

A row is a message of n = 2^k coefficients: entry j multiplies x^j. Its codeword is the polynomial's values at the
powers w^0, w^1, .. of w = `root_of_unity(k + log_blowup)`, in this order. The transform of the zero-padded message
is a Stockham transform (`vml.field.kernels_ntt`) whose first pass, of radix 8, skips the parts that are zero.

Extension rows are encoded component by component: the points are base elements.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from vml.field.goldilocks import TWO_ADICITY, P, root_of_unity
from vml.threads import BLOCKS, THREADS, over_blocks

Words = np.ndarray[Any, np.dtype[np.uint64]]

_SPLIT_ROW = 1 << 14  # words of one codeword, above which all threads work on it together


class _Plan(NamedTuple):
    roots: Words  # the powers 0..3 of w_8
    first: Words  # twiddles of the pass of radix 8
    passes: tuple[tuple[int, Words], ...]  # stride and twiddles of each pass of radix 4
    halves: bool  # whether a pass of radix 2 ends it


def powers(root: int, count: int) -> Words:
    """root^0 .. root^(count - 1)."""
    from vml.field.kernels import outer_base

    result = np.ones(1, np.uint64)
    step = root
    while result.size < count:
        longer = np.empty(2 * result.size, np.uint64)
        outer_base(np.array([1, step], np.uint64), result, longer)
        result, step = longer, step * step % P
    return result[:count]


def _twiddles(log_n: int, radix: int) -> Words:
    """w_n^(k p) for k < radix, p < n / radix."""
    root = root_of_unity(log_n)
    return np.stack([powers(pow(root, k, P), (1 << log_n) // radix) for k in range(radix)])


@lru_cache(maxsize=4)
def _plan(log_n: int) -> _Plan:
    passes, done = [], 3
    while log_n - done >= 2:
        passes.append((1 << done, _twiddles(log_n - done, 4)))
        done += 2
    return _Plan(powers(root_of_unity(3), 4), _twiddles(log_n, 8), tuple(passes), done < log_n)


def _log2(n: int) -> int:
    if n < 1 or n & (n - 1):
        raise ValueError(f"a row has {n} entries, not a power of two")
    return n.bit_length() - 1


def encode_rows(rows: Words, log_blowup: int) -> Words:
    """The codeword of every row.

    Args:
        rows: uint64[r, n] of base elements, or uint64[r, n, 2] of extension elements; n is a power of two.

    Returns:
        uint64[r, n << log_blowup] or uint64[r, n << log_blowup, 2]: entry j is the row's polynomial at w^j.
    """
    if rows.dtype != np.uint64:
        raise TypeError(f"rows hold {rows.dtype}, not uint64")
    if rows.ndim == 3:
        parts = np.ascontiguousarray(np.moveaxis(rows, 2, 0)).reshape(2 * rows.shape[0], rows.shape[1])
        words = encode_rows(parts, log_blowup).reshape(2, rows.shape[0], -1)
        return np.ascontiguousarray(np.moveaxis(words, 0, 2))
    log_n = _log2(rows.shape[1]) + log_blowup
    if log_blowup < 0 or log_n > TWO_ADICITY:
        raise ValueError(f"there is no codeword of 2^{log_n} words with blowup 2^{log_blowup}")
    size = 1 << log_n
    if log_n < 3:
        return evaluate_columns(rows, powers(root_of_unity(log_n), size)).T.copy()
    if rows.shape[1] < size // 8:
        rows = np.concatenate([rows, np.zeros((rows.shape[0], size // 8 - rows.shape[1]), np.uint64)], axis=1)
    rows, out, plan = np.ascontiguousarray(rows), np.empty((rows.shape[0], size), np.uint64), _plan(log_n)
    if rows.shape[0] < 2 * THREADS and size > _SPLIT_ROW:
        scratch = np.empty(size, np.uint64)
        for row, word in zip(rows, out, strict=True):
            _transform(row, plan, word, scratch, True)
        return out

    def work(block: slice) -> None:
        scratch = np.empty(size, np.uint64)
        for row, word in zip(rows[block], out[block], strict=True):
            _transform(row, plan, word, scratch, False)

    over_blocks(rows.shape[0], work)
    return out


def _transform(row: Words, plan: _Plan, out: Words, scratch: Words, split: bool) -> None:
    """The passes of one row, each over all threads where asked to; the last one writes to out."""
    from vml.field.kernels_ntt import first_pass_8, pass_2, pass_4

    def over(count: int, work: Any) -> None:
        if split:
            over_blocks(count, work)
        else:
            work(slice(0, count))

    count = len(plan.passes) + plan.halves
    x, y = (out, scratch) if count % 2 == 0 else (scratch, out)
    target = x
    over(plan.first.shape[1], lambda p: first_pass_8(row, plan.roots, plan.first, target, p.start, p.stop))
    i = plan.roots[2]
    for s, twiddles in plan.passes:
        m = twiddles.shape[1]
        a, b = x, y
        if m >= BLOCKS or not split:
            over(m, lambda p, a=a, b=b, t=twiddles, s=s: pass_4(a, t, i, s, b, p.start, p.stop, 0, s))
        else:
            over(s, lambda q, a=a, b=b, t=twiddles, s=s, m=m: pass_4(a, t, i, s, b, 0, m, q.start, q.stop))
        x, y = y, x
    if plan.halves:
        a, b = x, y
        over(out.size // 2, lambda q: pass_2(a, b, q.start, q.stop))


def evaluate_columns(rows: Words, points: Words) -> Words:
    """The value of every row's polynomial at each point.

    Args:
        rows: uint64[r, n], coefficients, constant ones first. points: uint64[q].

    Returns:
        uint64[q, r].
    """
    from vml.field.kernels_ntt import TERMS, evaluate_rows, split_limbs

    if rows.dtype != np.uint64:
        raise TypeError(f"rows hold {rows.dtype}, not uint64")
    rows = np.ascontiguousarray(rows)
    out = np.zeros((points.size, rows.shape[0]), np.uint64)
    terms = min(TERMS, rows.shape[1])

    def work(block: slice) -> None:
        tables = np.empty((block.stop - block.start, 3, terms), np.uint32)
        steps = np.empty(block.stop - block.start, np.uint64)
        for k, point in enumerate(points[block]):
            split_limbs(powers(int(point), terms), tables[k])
            steps[k] = pow(int(point), terms, P)
        evaluate_rows(rows, tables, steps, out[block])

    over_blocks(points.size, work)
    return out
