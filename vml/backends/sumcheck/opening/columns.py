"""Merkle trees over the columns of an encoded matrix, cut at a cap.

H is Keccak-256, ``||`` is concatenation::

    leaf j  = H("vml:leaf" || column j, each entry 8 bytes little-endian, an extension element as its two coefficients)
    node    = H("vml:node" || left || right)
    cap     = the 2^h nodes of height h from the root, left to right, h = min(CAP_HEIGHT, depth)

The cap is the commitment: with tens of queries the levels above it would be in every path anyway. Tags have 8
bytes, so that the entries of a column are lanes of Keccak and 8 neighbouring columns are hashed side by side
(`vml.backends.sumcheck.opening.kernels`). The height of a column and the depth of a tree are the verifier's own
numbers, so a leaf cannot pose as a longer or shorter column, nor a node as a leaf.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from vml.errors import MalformedProof, ProofRejected
from vml.field.goldilocks import P
from vml.keccak import HASH_BYTES, keccak256

TAG_LEAF = b"vml:leaf"
TAG_NODE = b"vml:node"

CAP_HEIGHT = 6


def cap_height(depth: int) -> int:
    """How far below the root a tree of 2^depth leaves is cut."""
    return min(CAP_HEIGHT, depth)


def cap_bytes(depth: int) -> int:
    """The size of a cap over 2^depth leaves."""
    return HASH_BYTES << cap_height(depth)


def column_leaf(column: Sequence[int]) -> bytes:
    """The leaf of a column of words."""
    return keccak256(TAG_LEAF + struct.pack(f"<{len(column)}Q", *column))


def parent(left: bytes, right: bytes) -> bytes:
    """The node above two."""
    return keccak256(TAG_NODE + left + right)


def check_cap(what: str, cap: object, depth: int) -> None:
    """Refuse a cap that is not bytes of the size a tree of 2^depth leaves has.

    Raises:
        MalformedProof: anything else.
    """
    if type(cap) is not bytes or len(cap) != cap_bytes(depth):
        raise MalformedProof(f"{what}: a cap over 2^{depth} columns has {cap_bytes(depth)} bytes")


def check_column(what: str, column: object, rows: int) -> None:
    """Refuse anything but a tuple of `rows` >= 1 canonical base elements.

    Raises:
        MalformedProof: another type, another number of entries, or one that is no int of 0 .. p - 1.
    """
    if type(column) is not tuple or len(column) != rows:
        raise MalformedProof(f"{what}: a column has {rows} entries")
    if set(map(type, column)) != {int} or min(column) < 0 or max(column) >= P:
        raise MalformedProof(f"{what}: an entry is not canonical")


def verify_path(what: str, cap: bytes, depth: int, index: int, leaf: bytes, path: object) -> None:
    """Check that a leaf stands at an index below a cap. Returns nothing or raises.

    Args:
        what: which tree, for messages.
        cap: `cap_bytes(depth)` bytes.
        depth: the leaves are 2^depth.
        index: 0 <= index < 2^depth, the verifier's own.
        leaf: 32 bytes, computed by the verifier from the column.
        path: siblings, from anyone.

    Raises:
        MalformedProof: not one sibling of 32 bytes a level. A shorter path would let a node pose as a leaf.
        ProofRejected: the leaf is not there.
    """
    length = depth - cap_height(depth)
    # step 1: one sibling a level
    if type(path) is not tuple or len(path) != length:
        raise MalformedProof(f"{what}: a path has {length} siblings")
    for sibling in path:
        if type(sibling) is not bytes or len(sibling) != HASH_BYTES:
            raise MalformedProof(f"{what}: a sibling has {HASH_BYTES} bytes")

    # step 2: hashing up from the leaf gives its node of the cap
    node = leaf
    for sibling in path:
        node = parent(sibling, node) if index & 1 else parent(node, sibling)
        index >>= 1
    expected = cap[index * HASH_BYTES : (index + 1) * HASH_BYTES]
    if node != expected:
        raise ProofRejected(f"{what}: the column is not the one committed to", expected.hex(), node.hex())
