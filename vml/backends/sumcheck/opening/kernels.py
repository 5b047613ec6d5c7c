"""numba loops of the opening's prover: hashing columns side by side, degree-2 rounds, sums of powers.

Plain twins: `vml.backends.sumcheck.opening.columns` for hashing, the formulas below for the rest;
``tests/parity/test_opening_kernels.py`` holds them together.

Keccak states lie as in `vml.kernels_keccak`: `WIDTH` messages side by side, lane by lane. A leaf starts with a tag of
one lane, so entry i of the columns 8g .. 8g + 7, which are neighbours in row i of the matrix, is lane i + 1 of group g.
Rows are absorbed as they are encoded; between calls only the states are kept.

A round of <F, V> over pairs (low half, high half) needs g(0) = sum F_low V_low and g(2) = sum (2 F_high - F_low)
(2 V_high - V_low). An array may be shorter than the 2^k entries it stands for: what is missing, always at the end,
is zero. Where a whole high half is missing, 2 F_high - F_low is -F_low.

Sums are collected as in `vml.backends.sumcheck.kernels`: half words apart, reduced once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from vml.backends.sumcheck.kernels import high_half, joined, low_half
from vml.backends.sumcheck.opening.columns import TAG_LEAF, TAG_NODE
from vml.field.kernels import add, ext_scale, mul, neg, pairs, sub, times_seven
from vml.field.kernels_inlined import inlined
from vml.kernels_keccak import DIGEST_WORDS, RATE_LANES, WIDTH, permute

Words = np.ndarray[Any, np.dtype[np.uint64]]

STATE_WORDS = 25 * WIDTH

_S0, _S1 = np.int64(0), np.int64(1)
_PAIR, _BLOCK = np.int64(2), np.int64(512)
_U0, _U1 = np.uint64(0), np.uint64(1)
_WIDTH, _RATE, _DIGEST = np.int64(WIDTH), np.int64(RATE_LANES), np.int64(DIGEST_WORDS)
_PAD_FIRST = np.uint64(0x01)
_PAD_LAST = np.uint64(0x80 << 56)
_TAG_LEAF = np.uint64(int.from_bytes(TAG_LEAF, "little"))
_TAG_NODE = np.uint64(int.from_bytes(TAG_NODE, "little"))
_NODE_LANES = np.int64(1 + 2 * DIGEST_WORDS)


@njit(cache=True, nogil=True)
def absorb(states, words, done, first, last):  # type: ignore[no-untyped-def]
    """Take some rows of the matrix into the states of the groups first .. last - 1.

    Args:
        states: uint64[groups, STATE_WORDS], zeros before the first call; changed.
        words: uint64[rows, 8 * groups], the next rows.
        done: rows taken in before, int64.
        first, last: int64.
    """
    for group in range(first, last):
        state = states[group]
        at = group * _WIDTH
        if done == _S0:
            for j in range(_WIDTH):
                state[j] = _TAG_LEAF
        lane = (done + _S1) % _RATE
        for row in range(words.shape[0]):
            if lane == _S0:
                permute(state)
            for j in range(_WIDTH):
                state[lane * _WIDTH + j] ^= words[row, at + j]
            lane += _S1
            if lane == _RATE:
                lane = _S0


@njit(cache=True, nogil=True)
def finish(states, rows, digests, first, last):  # type: ignore[no-untyped-def]
    """Pad after `rows` rows, and write the digests.

    Args:
        states: as `absorb` left them; changed.
        rows: all rows taken in, int64.
        digests: uint64[8 * groups, DIGEST_WORDS], written to.
        first, last: int64.
    """
    lane = (rows + _S1) % _RATE
    for group in range(first, last):
        state = states[group]
        if lane == _S0:
            permute(state)
        for j in range(_WIDTH):
            state[lane * _WIDTH + j] ^= _PAD_FIRST
            state[(_RATE - _S1) * _WIDTH + j] ^= _PAD_LAST
        permute(state)
        for j in range(_WIDTH):
            for k in range(_DIGEST):
                digests[group * _WIDTH + j, k] = state[k * _WIDTH + j]


@njit(cache=True, nogil=True)
def hash_nodes(tree, level, first, last):  # type: ignore[no-untyped-def]
    """Some nodes of a level from their children, `WIDTH` at a time: those from level + WIDTH * first on.

    Args:
        tree: uint64[nodes, DIGEST_WORDS] in heap order, the children of node n at 2n and 2n + 1.
        level: the first node of the level, int64.
        first, last: int64.
    """
    state = np.empty(_WIDTH * np.int64(25), dtype=np.uint64)
    for group in range(first, last):
        base = level + group * _WIDTH
        state[:] = _U0
        for j in range(_WIDTH):
            child = np.int64(2) * (base + j)
            state[j] = _TAG_NODE
            for k in range(_DIGEST):
                state[(_S1 + k) * _WIDTH + j] = tree[child, k]
                state[(_S1 + _DIGEST + k) * _WIDTH + j] = tree[child + _S1, k]
            state[_NODE_LANES * _WIDTH + j] = _PAD_FIRST
            state[(_RATE - _S1) * _WIDTH + j] = _PAD_LAST
        permute(state)
        for j in range(_WIDTH):
            for k in range(_DIGEST):
                tree[base + j, k] = state[k * _WIDTH + j]


@inlined
def _at_two(low, high):  # type: ignore[no-untyped-def]
    """2 high - low: at 2, the line that is low at 0 and high at 1."""
    return add(high, sub(high, low))


@njit(cache=True, nogil=True)
def round_base(functional, values, half, first, last):  # type: ignore[no-untyped-def]
    """The share of i = first .. last - 1 in g(0) and g(2), values in the base field.

    Args:
        functional: extension uint64[n, 2].
        values: base uint64[n].
        half: where the high half begins, int64.
        first, last: int64, last at most min(n, half).

    Returns:
        g(0) and g(2), two words each.
    """
    functional = pairs(functional)
    both = min(max(values.shape[0] - half, first), last)
    f, v = functional[first:both], values[first:both]
    g, w = functional[first + half : both + half], values[first + half : both + half]
    z0l, z0h, z1l, z1h = _U0, _U0, _U0, _U0
    t0l, t0h, t1l, t1h = _U0, _U0, _U0, _U0
    for i in range(v.shape[0]):
        m0, m1 = ext_scale(f[i, 0], f[i, 1], v[i])
        e0, e1 = _at_two(f[i, 0], g[i, 0]), _at_two(f[i, 1], g[i, 1])
        n0, n1 = ext_scale(e0, e1, _at_two(v[i], w[i]))
        z0l += low_half(m0)
        z0h += high_half(m0)
        z1l += low_half(m1)
        z1h += high_half(m1)
        t0l += low_half(n0)
        t0h += high_half(n0)
        t1l += low_half(n1)
        t1h += high_half(n1)
    a0l, a0h, a1l, a1h = _U0, _U0, _U0, _U0
    f, v = functional[both:last], values[both:last]
    for i in range(v.shape[0]):
        m0, m1 = ext_scale(f[i, 0], f[i, 1], v[i])
        a0l += low_half(m0)
        a0h += high_half(m0)
        a1l += low_half(m1)
        a1h += high_half(m1)
    alone0, alone1 = joined(a0l, a0h), joined(a1l, a1h)
    zero0, zero1 = add(joined(z0l, z0h), alone0), add(joined(z1l, z1h), alone1)
    two0, two1 = add(joined(t0l, t0h), alone0), add(joined(t1l, t1h), alone1)
    return zero0, zero1, two0, two1


@inlined
def _parts(a0, a1, b0, b1):  # type: ignore[no-untyped-def]
    """The products that make up (a0 + a1 X)(b0 + b1 X): those of 1, of X^2, of X."""
    return mul(a0, b0), mul(a1, b1), add(mul(a0, b1), mul(a1, b0))


@njit(cache=True, nogil=True)
def round_ext(functional, values, half, first, last):  # type: ignore[no-untyped-def]
    """`round_base` with values in the extension, uint64[n, 2]."""
    functional, values = pairs(functional), pairs(values)
    both = min(max(values.shape[0] - half, first), last)
    f, v = functional[first:both], values[first:both]
    g, w = functional[first + half : both + half], values[first + half : both + half]
    z0l, z0h, z1l, z1h, zxl, zxh = _U0, _U0, _U0, _U0, _U0, _U0
    for i in range(v.shape[0]):
        m0, m1, mx = _parts(f[i, 0], f[i, 1], v[i, 0], v[i, 1])
        z0l += low_half(m0)
        z0h += high_half(m0)
        z1l += low_half(m1)
        z1h += high_half(m1)
        zxl += low_half(mx)
        zxh += high_half(mx)
    t0l, t0h, t1l, t1h, txl, txh = _U0, _U0, _U0, _U0, _U0, _U0
    for i in range(v.shape[0]):
        e0, e1 = _at_two(f[i, 0], g[i, 0]), _at_two(f[i, 1], g[i, 1])
        w0, w1 = _at_two(v[i, 0], w[i, 0]), _at_two(v[i, 1], w[i, 1])
        m0, m1, mx = _parts(e0, e1, w0, w1)
        t0l += low_half(m0)
        t0h += high_half(m0)
        t1l += low_half(m1)
        t1h += high_half(m1)
        txl += low_half(mx)
        txh += high_half(mx)
    a0l, a0h, a1l, a1h, axl, axh = _U0, _U0, _U0, _U0, _U0, _U0
    f, v = functional[both:last], values[both:last]
    for i in range(v.shape[0]):
        m0, m1, mx = _parts(f[i, 0], f[i, 1], v[i, 0], v[i, 1])
        a0l += low_half(m0)
        a0h += high_half(m0)
        a1l += low_half(m1)
        a1h += high_half(m1)
        axl += low_half(mx)
        axh += high_half(mx)
    alone0, alone1 = add(joined(a0l, a0h), times_seven(joined(a1l, a1h))), joined(axl, axh)
    zero0, zero1 = add(joined(z0l, z0h), times_seven(joined(z1l, z1h))), joined(zxl, zxh)
    two0, two1 = add(joined(t0l, t0h), times_seven(joined(t1l, t1h))), joined(txl, txh)
    return add(zero0, alone0), add(zero1, alone1), add(two0, alone0), add(two1, alone1)


@njit(cache=True, nogil=True)
def fold_base(values, half, r0, r1, out, first, last):  # type: ignore[no-untyped-def]
    """out[i] = v[i] + r (v[i + half] - v[i]) for first <= i < last; what v lacks is zero.

    Args:
        values: base uint64[n].
        half: where the high half begins, int64.
        r0, r1: the challenge, two uint64.
        out: extension uint64[min(n, half), 2], another array.
        first, last: int64.
    """
    out = pairs(out)
    both = min(max(values.shape[0] - half, first), last)
    block = np.empty((_BLOCK, _PAIR), dtype=np.uint64)  # LLVM sees that it overlaps nothing
    for start in range(first, both, _BLOCK):
        stop = min(start + _BLOCK, both)
        low, high, target = values[start:stop], values[start + half : stop + half], out[start:stop]
        for i in range(low.shape[0]):
            m0, m1 = ext_scale(r0, r1, sub(high[i], low[i]))
            block[i, 0], block[i, 1] = add(low[i], m0), m1
        for i in range(low.shape[0]):
            target[i, 0], target[i, 1] = block[i, 0], block[i, 1]
    rest0, rest1 = sub(_U1, r0), neg(r1)
    for start in range(both, last, _BLOCK):
        stop = min(start + _BLOCK, last)
        low, target = values[start:stop], out[start:stop]
        for i in range(low.shape[0]):
            block[i, 0], block[i, 1] = ext_scale(rest0, rest1, low[i])
        for i in range(low.shape[0]):
            target[i, 0], target[i, 1] = block[i, 0], block[i, 1]


@njit(cache=True, nogil=True)
def fold_ext(values, half, r0, r1, out, first, last):  # type: ignore[no-untyped-def]
    """`fold_base` with values in the extension, uint64[n, 2]."""
    values, out = pairs(values), pairs(out)
    both = min(max(values.shape[0] - half, first), last)
    block = np.empty((_BLOCK, _PAIR), dtype=np.uint64)
    seven = times_seven(r1)
    for start in range(first, both, _BLOCK):
        stop = min(start + _BLOCK, both)
        low, high, target = values[start:stop], values[start + half : stop + half], out[start:stop]
        for i in range(low.shape[0]):
            d0, d1 = sub(high[i, 0], low[i, 0]), sub(high[i, 1], low[i, 1])
            block[i, 0] = add(low[i, 0], add(mul(d0, r0), mul(d1, seven)))
            block[i, 1] = add(low[i, 1], add(mul(d0, r1), mul(d1, r0)))
        for i in range(low.shape[0]):
            target[i, 0], target[i, 1] = block[i, 0], block[i, 1]
    rest0, rest1 = sub(_U1, r0), neg(r1)
    seven = times_seven(rest1)
    for start in range(both, last, _BLOCK):
        stop = min(start + _BLOCK, last)
        low, target = values[start:stop], out[start:stop]
        for i in range(low.shape[0]):
            block[i, 0] = add(mul(low[i, 0], rest0), mul(low[i, 1], seven))
            block[i, 1] = add(mul(low[i, 0], rest1), mul(low[i, 1], rest0))
        for i in range(low.shape[0]):
            target[i, 0], target[i, 1] = block[i, 0], block[i, 1]


@njit(cache=True, nogil=True)
def add_powers(functional, points, starts, weights, first, last):  # type: ignore[no-untyped-def]
    """functional[i] += sum_j weights[j] points[j]^i for first <= i < last.

    Args:
        functional: extension uint64[n, 2]; changed.
        points: base uint64[q].
        starts: base uint64[q]: points[j]^first.
        weights: extension uint64[q, 2].
        first, last: int64.
    """
    weights = pairs(weights)
    current = starts.copy()
    for i in range(first, last):
        s0l, s0h, s1l, s1h = _U0, _U0, _U0, _U0
        for j in range(points.shape[0]):
            m0, m1 = ext_scale(weights[j, 0], weights[j, 1], current[j])
            s0l += low_half(m0)
            s0h += high_half(m0)
            s1l += low_half(m1)
            s1h += high_half(m1)
        for j in range(points.shape[0]):
            current[j] = mul(current[j], points[j])
        functional[i, 0] = add(functional[i, 0], joined(s0l, s0h))
        functional[i, 1] = add(functional[i, 1], joined(s1l, s1h))
