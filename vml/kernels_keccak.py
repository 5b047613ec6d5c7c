"""Bulk Keccak-256 of tensor leaves and tree nodes: many messages of one length, hashed side by side.

The naive twin is `vml.keccak.keccak256` on each message; ``tests/parity/test_keccak_kernels.py`` holds the
two together.

`WIDTH` states are permuted at once, stored lane by lane (lane i of message j at ``state[i * WIDTH + j]``), so
that the inner loop over j is plain elementwise work on uint64, which LLVM turns into vector instructions. A
leaf is 0x00 || 1024 bytes, a node 0x01 || 64 bytes: both start one byte off the lanes, so lane k of the
message is (word k << 8) | (word k-1 >> 56). The swap to big-endian and the padding happen in the same pass.

In kernels every literal is a typed constant: numba would promote uint64 mixed with a bare literal to a signed
or floating type without a word. Words are read as they lie in memory, so this is for little-endian machines
only; `vml.merkle` asks first.

Source: FIPS 202, sections 3.2 and 4, with Ethereum's original Keccak padding (first byte 0x01).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

from vml.field.kernels_inlined import inlined

Words = np.ndarray[Any, np.dtype[np.uint64]]

WIDTH = 8
LEAF_WORDS = 128
NODE_WORDS = 8
DIGEST_WORDS = 4
RATE_LANES = 17
LEAF_BLOCKS = 8
_PARALLEL_MESSAGES = 1024  # below this, starting threads costs more than it gives

_WIDTH = np.uint64(WIDTH)
_LEAF_WORDS = np.uint64(LEAF_WORDS)
_NODE_WORDS = np.uint64(NODE_WORDS)
_DIGEST_WORDS = np.uint64(DIGEST_WORDS)
_RATE = np.uint64(RATE_LANES)
_BLOCKS = np.uint64(LEAF_BLOCKS)
_U0, _U1, _U7, _U8, _U16, _U32, _U56, _U64 = (np.uint64(n) for n in (0, 1, 7, 8, 16, 32, 56, 64))
_PAD_FIRST = np.uint64(0x01 << 8)  # the padding starts one byte into the last word's lane
_PAD_LAST = np.uint64(0x80 << 56)
_LOW_BYTES = np.uint64(0x00FF00FF00FF00FF)
_LOW_PAIRS = np.uint64(0x0000FFFF0000FFFF)
_TAG_NODE = np.uint64(0x01)


def _round_constants() -> Words:
    """The 24 iota constants, from the degree-8 LFSR of FIPS 202, algorithm 5."""
    constants, register = [], 1
    for _ in range(24):
        value = 0
        for j in range(7):
            if register & 1:
                value |= 1 << ((1 << j) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(value)
    return np.array(constants, dtype=np.uint64)


_ROUND_CONSTANTS = _round_constants()


@inlined
def _rotl(x, n):  # type: ignore[no-untyped-def]
    return (x << n) | (x >> (_U64 - n))


@njit(cache=True, nogil=True)
def permute(state):  # type: ignore[no-untyped-def]
    """Keccak-f[1600] on `WIDTH` states.

    Args:
        state: uint64 of shape (25 * WIDTH,), lane i of message j at i * WIDTH + j; changed in place.
    """
    for number in range(_ROUND_CONSTANTS.size):
        iota = _ROUND_CONSTANTS[number]
        for j in range(_WIDTH):
            a0 = state[np.uint64(0) * _WIDTH + j]
            a1 = state[np.uint64(1) * _WIDTH + j]
            a2 = state[np.uint64(2) * _WIDTH + j]
            a3 = state[np.uint64(3) * _WIDTH + j]
            a4 = state[np.uint64(4) * _WIDTH + j]
            a5 = state[np.uint64(5) * _WIDTH + j]
            a6 = state[np.uint64(6) * _WIDTH + j]
            a7 = state[np.uint64(7) * _WIDTH + j]
            a8 = state[np.uint64(8) * _WIDTH + j]
            a9 = state[np.uint64(9) * _WIDTH + j]
            a10 = state[np.uint64(10) * _WIDTH + j]
            a11 = state[np.uint64(11) * _WIDTH + j]
            a12 = state[np.uint64(12) * _WIDTH + j]
            a13 = state[np.uint64(13) * _WIDTH + j]
            a14 = state[np.uint64(14) * _WIDTH + j]
            a15 = state[np.uint64(15) * _WIDTH + j]
            a16 = state[np.uint64(16) * _WIDTH + j]
            a17 = state[np.uint64(17) * _WIDTH + j]
            a18 = state[np.uint64(18) * _WIDTH + j]
            a19 = state[np.uint64(19) * _WIDTH + j]
            a20 = state[np.uint64(20) * _WIDTH + j]
            a21 = state[np.uint64(21) * _WIDTH + j]
            a22 = state[np.uint64(22) * _WIDTH + j]
            a23 = state[np.uint64(23) * _WIDTH + j]
            a24 = state[np.uint64(24) * _WIDTH + j]
            # theta: each lane takes the parity of two columns
            c0 = a0 ^ a5 ^ a10 ^ a15 ^ a20
            c1 = a1 ^ a6 ^ a11 ^ a16 ^ a21
            c2 = a2 ^ a7 ^ a12 ^ a17 ^ a22
            c3 = a3 ^ a8 ^ a13 ^ a18 ^ a23
            c4 = a4 ^ a9 ^ a14 ^ a19 ^ a24
            d0 = c4 ^ _rotl(c1, _U1)
            d1 = c0 ^ _rotl(c2, _U1)
            d2 = c1 ^ _rotl(c3, _U1)
            d3 = c2 ^ _rotl(c4, _U1)
            d4 = c3 ^ _rotl(c0, _U1)
            # rho and pi: lane (x, y) is rotated and moves to (y, 2x + 3y)
            b0 = a0 ^ d0
            b1 = _rotl(a6 ^ d1, np.uint64(44))
            b2 = _rotl(a12 ^ d2, np.uint64(43))
            b3 = _rotl(a18 ^ d3, np.uint64(21))
            b4 = _rotl(a24 ^ d4, np.uint64(14))
            b5 = _rotl(a3 ^ d3, np.uint64(28))
            b6 = _rotl(a9 ^ d4, np.uint64(20))
            b7 = _rotl(a10 ^ d0, np.uint64(3))
            b8 = _rotl(a16 ^ d1, np.uint64(45))
            b9 = _rotl(a22 ^ d2, np.uint64(61))
            b10 = _rotl(a1 ^ d1, np.uint64(1))
            b11 = _rotl(a7 ^ d2, np.uint64(6))
            b12 = _rotl(a13 ^ d3, np.uint64(25))
            b13 = _rotl(a19 ^ d4, np.uint64(8))
            b14 = _rotl(a20 ^ d0, np.uint64(18))
            b15 = _rotl(a4 ^ d4, np.uint64(27))
            b16 = _rotl(a5 ^ d0, np.uint64(36))
            b17 = _rotl(a11 ^ d1, np.uint64(10))
            b18 = _rotl(a17 ^ d2, np.uint64(15))
            b19 = _rotl(a23 ^ d3, np.uint64(56))
            b20 = _rotl(a2 ^ d2, np.uint64(62))
            b21 = _rotl(a8 ^ d3, np.uint64(55))
            b22 = _rotl(a14 ^ d4, np.uint64(39))
            b23 = _rotl(a15 ^ d0, np.uint64(41))
            b24 = _rotl(a21 ^ d1, np.uint64(2))
            # chi, and iota on the first lane
            state[np.uint64(0) * _WIDTH + j] = b0 ^ (~b1 & b2) ^ iota
            state[np.uint64(1) * _WIDTH + j] = b1 ^ (~b2 & b3)
            state[np.uint64(2) * _WIDTH + j] = b2 ^ (~b3 & b4)
            state[np.uint64(3) * _WIDTH + j] = b3 ^ (~b4 & b0)
            state[np.uint64(4) * _WIDTH + j] = b4 ^ (~b0 & b1)
            state[np.uint64(5) * _WIDTH + j] = b5 ^ (~b6 & b7)
            state[np.uint64(6) * _WIDTH + j] = b6 ^ (~b7 & b8)
            state[np.uint64(7) * _WIDTH + j] = b7 ^ (~b8 & b9)
            state[np.uint64(8) * _WIDTH + j] = b8 ^ (~b9 & b5)
            state[np.uint64(9) * _WIDTH + j] = b9 ^ (~b5 & b6)
            state[np.uint64(10) * _WIDTH + j] = b10 ^ (~b11 & b12)
            state[np.uint64(11) * _WIDTH + j] = b11 ^ (~b12 & b13)
            state[np.uint64(12) * _WIDTH + j] = b12 ^ (~b13 & b14)
            state[np.uint64(13) * _WIDTH + j] = b13 ^ (~b14 & b10)
            state[np.uint64(14) * _WIDTH + j] = b14 ^ (~b10 & b11)
            state[np.uint64(15) * _WIDTH + j] = b15 ^ (~b16 & b17)
            state[np.uint64(16) * _WIDTH + j] = b16 ^ (~b17 & b18)
            state[np.uint64(17) * _WIDTH + j] = b17 ^ (~b18 & b19)
            state[np.uint64(18) * _WIDTH + j] = b18 ^ (~b19 & b15)
            state[np.uint64(19) * _WIDTH + j] = b19 ^ (~b15 & b16)
            state[np.uint64(20) * _WIDTH + j] = b20 ^ (~b21 & b22)
            state[np.uint64(21) * _WIDTH + j] = b21 ^ (~b22 & b23)
            state[np.uint64(22) * _WIDTH + j] = b22 ^ (~b23 & b24)
            state[np.uint64(23) * _WIDTH + j] = b23 ^ (~b24 & b20)
            state[np.uint64(24) * _WIDTH + j] = b24 ^ (~b20 & b21)


@njit(inline="always")
def _big_endian(word, itemsize):  # type: ignore[no-untyped-def]
    """Swap the bytes of each element in a little-endian word of elements of `itemsize` bytes."""
    if itemsize == _U1:
        return word
    word = ((word & _LOW_BYTES) << _U8) | ((word >> _U8) & _LOW_BYTES)
    if itemsize == np.uint64(2):
        return word
    word = ((word & _LOW_PAIRS) << _U16) | ((word >> _U16) & _LOW_PAIRS)
    if itemsize == np.uint64(4):
        return word
    return (word << _U32) | (word >> _U32)


@njit(inline="always")
def _squeeze(state, digests, base):  # type: ignore[no-untyped-def]
    for j in range(_WIDTH):
        for k in range(_DIGEST_WORDS):
            digests[(base + j) * _DIGEST_WORDS + k] = state[k * _WIDTH + j]


@njit(cache=True, nogil=True)
def hash_leaves(words, itemsize, digests, first, last):  # type: ignore[no-untyped-def]
    """Digests of the leaves `first` .. `last` - 1, WIDTH at a time.

    Args:
        words: uint64 of shape (n * 128,): n leaves of 1024 bytes of little-endian elements.
        itemsize: bytes of one element, 1, 2, 4 or 8, as uint64.
        digests: uint64 of shape (n * 4,), written to.
        first, last: leaf numbers as uint64, a multiple of WIDTH apart.
    """
    state = np.empty(np.uint64(25) * _WIDTH, dtype=np.uint64)
    for base in range(first, last, _WIDTH):
        state[:] = _U0
        for block in range(_BLOCKS):
            start = block * _RATE
            for j in range(_WIDTH):
                at = (base + j) * _LEAF_WORDS + start
                previous = _U0
                if block > _U0:
                    previous = _big_endian(words[at - _U1], itemsize)
                for i in range(min(_RATE, _LEAF_WORDS - start)):
                    word = _big_endian(words[at + i], itemsize)
                    state[i * _WIDTH + j] ^= (word << _U8) | (previous >> _U56)
                    previous = word
                if block == _U7:
                    tail = _LEAF_WORDS - start
                    state[tail * _WIDTH + j] ^= (previous >> _U56) | _PAD_FIRST
                    state[(_RATE - _U1) * _WIDTH + j] ^= _PAD_LAST
            permute(state)
        _squeeze(state, digests, base)


@njit(cache=True, nogil=True)
def hash_nodes(words, digests, first, last):  # type: ignore[no-untyped-def]
    """Digests of the parents `first` .. `last` - 1, WIDTH at a time.

    Args:
        words: uint64 of shape (n * 8,): n pairs of child digests.
        digests: uint64 of shape (n * 4,), written to.
        first, last: parent numbers as uint64, a multiple of WIDTH apart.
    """
    state = np.empty(np.uint64(25) * _WIDTH, dtype=np.uint64)
    for base in range(first, last, _WIDTH):
        state[:] = _U0
        for j in range(_WIDTH):
            at = (base + j) * _NODE_WORDS
            previous = _TAG_NODE << _U56
            for i in range(_NODE_WORDS):
                word = words[at + i]
                state[i * _WIDTH + j] = (word << _U8) | (previous >> _U56)
                previous = word
            state[_NODE_WORDS * _WIDTH + j] = (previous >> _U56) | _PAD_FIRST
            state[(_RATE - _U1) * _WIDTH + j] = _PAD_LAST
        permute(state)
        _squeeze(state, digests, base)


def takes(array: np.ndarray[Any, Any]) -> bool:
    """Whether `leaf_digests` can read this array where it lies: row-major, little-endian, 8-byte aligned."""
    in_place = array.flags.c_contiguous and array.ctypes.data % 8 == 0
    return bool(in_place and array.dtype == array.dtype.newbyteorder("<"))


def leaf_digests(array: np.ndarray[Any, Any]) -> bytes:
    """H(0x00 || 1024 bytes) of every leaf of a tensor, the last one zero-padded.

    Args:
        array: int8, int16, int32 or int64 for which `takes` holds, at least one element.

    Returns:
        32 bytes a leaf, in order.
    """
    data = array.reshape(-1).view(np.uint8)
    itemsize = np.uint64(array.dtype.itemsize)
    step = WIDTH * LEAF_WORDS * 8
    whole = data.size // step * step
    count = -(-data.size // (LEAF_WORDS * 8))

    def kernel(words: Words, digests: Words, first: np.uint64, last: np.uint64) -> None:
        hash_leaves(words, itemsize, digests, first, last)

    return _run(kernel, data[:whole], data[whole:], step, count)


def node_digests(packed: bytes) -> bytes:
    """H(0x01 || left || right) of every pair of digests.

    Args:
        packed: an even number of 32-byte digests end to end.

    Returns:
        32 bytes a pair, in order.
    """
    data = np.frombuffer(packed, dtype=np.uint8)
    step = WIDTH * NODE_WORDS * 8
    whole = data.size // step * step
    return _run(hash_nodes, data[:whole], data[whole:], step, data.size // (NODE_WORDS * 8))


def _cores() -> int:
    """Cores this process may use: its affinity where the system tells it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(
    kernel: Callable[[Words, Words, np.uint64, np.uint64], None],
    whole: np.ndarray[Any, np.dtype[np.uint8]],
    rest: np.ndarray[Any, np.dtype[np.uint8]],
    step: int,
    count: int,
) -> bytes:
    """Hash whole groups of `WIDTH` messages on all cores, and the rest in one zero-padded group."""
    digests = np.empty((whole.size // step + 1) * WIDTH * DIGEST_WORDS, dtype=np.uint64)
    groups = whole.size // step
    words, last = whole.view(np.uint64), np.zeros(step if rest.size else 0, dtype=np.uint8)
    last[: rest.size] = rest
    words.flags.writeable = last.flags.writeable = False  # another form of array would be another kernel
    workers = _cores() if groups * WIDTH >= _PARALLEL_MESSAGES else 1
    bounds = [np.uint64(groups * i // workers * WIDTH) for i in range(workers + 1)]
    if workers == 1:
        kernel(words, digests, bounds[0], bounds[1])
    else:
        with ThreadPoolExecutor(workers) as pool:  # the kernels release the GIL
            for done in [pool.submit(kernel, words, digests, *pair) for pair in itertools.pairwise(bounds)]:
                done.result()
    if rest.size:
        kernel(last.view(np.uint64), digests[groups * WIDTH * DIGEST_WORDS :], np.uint64(0), np.uint64(WIDTH))
    return digests.view(np.uint8)[: count * DIGEST_WORDS * 8].tobytes()
