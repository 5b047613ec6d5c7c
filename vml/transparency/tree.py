"""The Merkle tree of a transparency log: hashes, and proofs of inclusion and of consistency.

H is SHA-256, || is concatenation, D[a:b] are the entries a, a+1, …, b-1, and k is the largest power of two below n::

    leaf(d)        = H(0x00 || d)
    root of D[0:0] = H()
    root of D[0:1] = leaf(D[0])
    root of D[0:n] = H(0x01 || root of D[0:k] || root of D[k:n])

A proof is a list of roots of ranges. That entry m is in a tree of n entries: the ranges beside the way from the leaf to
the root, lowest first. That a tree of m entries is the beginning of one of n: the ranges from which both roots follow.
`inclusion_ranges` and `consistency_ranges` say which ranges those are; numbers alone decide it, so a proof of another
length is no proof.

A log keeps the root of every *full* range, 2^level entries from index * 2^level on; every range of a proof is made of
at most log2(n) of them (`full_ranges`), and all ranges of one proof together of no more than 2 log2(n).

Source: RFC 6962, section 2.1; RFC 9162, section 2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from vml.errors import LogRejected

HASH_BYTES = 32
MAX_SIZE = (1 << 63) - 1
EMPTY_ROOT = hashlib.sha256().digest()

Range: TypeAlias = tuple[int, int]
"""Entries from the first number up to, and without, the second."""
Node: TypeAlias = tuple[int, int]
"""A full range by level and index."""


def leaf_hash(data: bytes) -> bytes:
    """H(0x00 || data): what stands for an entry of any length."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """H(0x01 || left || right), two 32-byte roots."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(roots: Sequence[bytes]) -> bytes:
    """The root of a range, from those of the full ranges it is made of, in order; `EMPTY_ROOT` of none."""
    if not roots:
        return EMPTY_ROOT
    result = roots[-1]
    for left in reversed(roots[:-1]):
        result = node_hash(left, result)
    return result


def full_ranges(start: int, end: int) -> list[Node]:
    """The full ranges that make up one range of a tree, in order.

    Args:
        start, end: a range that stands in some tree: `start` is a multiple of the largest power of two below
            ``end - start``; 0 and the size for the whole tree.

    Returns:
        Levels and indices, levels falling.
    """
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def position(node: Node) -> int:
    """One number for a full range: entry i has 2 i, each range the number between the two that it is made of."""
    level, index = node
    return ((2 * index + 1) << level) - 1


def grown(size: int, edge: Mapping[Node, bytes], leaves: Sequence[bytes]) -> dict[Node, bytes]:
    """What appending entries adds to the full ranges.

    Args:
        size: entries before.
        edge: the roots of ``full_ranges(0, size)``.
        leaves: `leaf_hash` of each new entry.

    Returns:
        The root of every full range that ends within the new entries.
    """
    added: dict[Node, bytes] = {}
    level, first, row = 0, size, list(leaves)
    while row:
        added.update(((level, first + at), root) for at, root in enumerate(row))
        if first & 1:
            first, row = first - 1, [edge[level, first - 1], *row]
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=False)]
        level, first = level + 1, first >> 1
    return added


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The ranges whose roots prove that an entry is in a tree, lowest first.

    Args:
        index: of the entry, 0 <= index < size.
        size: entries of the tree.

    Raises:
        ValueError: there is no such entry.
    """
    if not 0 <= index < size:
        raise ValueError(f"entry {index} is not in a tree of {size}")
    found, start, end = [], 0, size
    while end - start > 1:
        middle = start + _left(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """The ranges whose roots prove that a tree is the beginning of another, lowest first.

    Args:
        first, second: entries of both, 0 <= first <= second. Of equal trees and of an empty one there is nothing
            to prove.

    Raises:
        ValueError: the first is larger.
    """
    if not 0 <= first <= second:
        raise ValueError(f"a tree of {first} entries is not the beginning of one of {second}")
    if first in (0, second):
        return []
    found, start, end = [], 0, second
    while end != first:
        middle = start + _left(end - start)
        if first <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    if start:
        found.append((start, end))
    return found[::-1]


def joined(ranges: Sequence[Range], roots: Mapping[Node, bytes]) -> list[bytes]:
    """The roots of a proof's ranges, from those of full ranges."""
    return [fold([roots[node] for node in full_ranges(*each)]) for each in ranges]


def needed(ranges: Sequence[Range]) -> Iterator[Node]:
    """Every full range that `joined` asks for."""
    for each in ranges:
        yield from full_ranges(*each)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that an entry stands at an index of a tree. Returns nothing or raises.

    Args:
        leaf: `leaf_hash` of the entry, 32 bytes.
        index: where it is said to stand.
        size, root: of the tree, from a checkpoint that was verified.
        proof: 32-byte roots, lowest first.

    Raises:
        LogRejected: INCLUSION.
    """
    # step 1: there is such an entry
    if not 0 <= index < size <= MAX_SIZE:
        raise LogRejected("inclusion", f"there is no entry {index} in a tree of {size}")

    # step 2: as many roots as the numbers ask for
    ranges = inclusion_ranges(index, size)
    _require_roots("inclusion", proof, len(ranges), leaf, root)

    # step 3: the leaf and they make the root
    result = leaf
    for (start, _), beside in zip(ranges, proof, strict=True):
        result = node_hash(beside, result) if start < index else node_hash(result, beside)
    if result != root:
        raise LogRejected("inclusion", f"another entry stands at {index}: the root would be {result.hex()}")


def verify_consistency(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that one tree is the beginning of another, nothing changed, dropped or moved. Returns nothing or raises.

    Args:
        first, first_root: of the earlier tree.
        second, second_root: of the later one.
        proof: 32-byte roots, lowest first; none for an empty or an equal tree.

    Raises:
        LogRejected: CONSISTENCY.
    """
    # step 1: the log did not shrink
    if not 0 <= first <= second <= MAX_SIZE:
        raise LogRejected("consistency", f"the log shrank: {first} entries before, {second} now")

    # step 2: as many roots as the numbers ask for
    ranges = consistency_ranges(first, second)
    _require_roots("consistency", proof, len(ranges), first_root, second_root)

    # step 3: of no entries there is one root, of as many entries one tree
    if first == 0 and first_root != EMPTY_ROOT:
        raise LogRejected("consistency", "a tree without entries has another root")
    if first == second and first_root != second_root:
        raise LogRejected("consistency", f"two different logs of {first} entries: this is a split view")
    if first in (0, second):
        return

    # step 4: the roots make the earlier root, and the later one
    rest = list(zip(ranges, proof, strict=True))
    before = after = first_root if ranges[0][0] >= first else rest.pop(0)[1]
    for (start, _), beside in rest:
        if start < first:
            before, after = node_hash(beside, before), node_hash(beside, after)
        else:
            after = node_hash(after, beside)
    if before != first_root:
        raise LogRejected("consistency", f"the first {first} entries are others than before")
    if after != second_root:
        raise LogRejected("consistency", f"the proof is about another log of {second} entries")


def _left(count: int) -> int:
    """The largest power of two below a count of at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _require_roots(what: str, proof: Sequence[bytes], count: int, *others: bytes) -> None:
    if len(proof) != count:
        raise LogRejected(what, f"{len(proof)} roots in the proof, {count} are needed")
    if any(len(root) != HASH_BYTES for root in (*proof, *others)):
        raise LogRejected(what, f"a root is not {HASH_BYTES} bytes")
