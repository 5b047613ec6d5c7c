"""Pure questions about trees: what a reveal must look like, and whether what came hashes to what was committed to.

A tensor's tree of depth d is descended in strides of five levels: from height h to h - 5, or to the leaves where
fewer are left. Heights that can be asked for are therefore d, d - 5, ..., and 0. The depth follows from the header
in the model's descriptor, never from what a player says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vml.backends.optimistic import refusals
from vml.backends.optimistic.records import LEVELS, Opening, Position
from vml.keccak import HASH_BYTES
from vml.merkle import (
    EMPTY,
    ITEM_BYTES,
    LEAF_BYTES,
    merkle_node,
    tensor_digest,
    tensor_leaf,
    tensor_leaf_count,
    tree_depth,
)
from vml.model.tensor import Header


def leaf_count(header: Header) -> int:
    """Genuine leaves of a tensor."""
    return tensor_leaf_count(header.dtype, header.shape)


def depth(header: Header) -> int:
    """Height of the root of a tensor's tree."""
    return tree_depth(leaf_count(header))


def reveals(header: Header) -> int:
    """How many nodes and leaves the asserter reveals on the way down to one leaf."""
    return 1 + math.ceil(depth(header) / LEVELS)


def levels_below(height: int) -> int:
    """Levels that the reveal of a node at this height goes down."""
    return min(LEVELS, height)


def child(position: Position, number: int) -> Position:
    """Where the given child of a revealed node lies."""
    levels = levels_below(position.height)
    return Position(position.operator, position.height - levels, (position.index << levels) + number)


def is_padding(position: Position, header: Header) -> bool:
    """Whether only leaves after the tensor's last one lie below."""
    return position.index << position.height >= leaf_count(header)


def empty(height: int) -> bytes:
    """Digest of a subtree of padding."""
    digest = EMPTY
    for _ in range(height):
        digest = merkle_node(digest, digest)
    return digest


def leaf_bytes(number: int, header: Header) -> int:
    """Bytes of data in one leaf: 1024, or what is left in the last one."""
    return min(LEAF_BYTES, header.size * ITEM_BYTES[header.dtype] - number * LEAF_BYTES)


def element(data: bytes, leaf: int, number: int, header: Header) -> int:
    """Element `number` of a tensor, out of the data of leaf `leaf`, which have been checked to be as long as they are.

    Raises:
        ElementOutside: it does not lie in this leaf.
    """
    item = ITEM_BYTES[header.dtype]
    start = number * item - leaf * LEAF_BYTES
    if not 0 <= start < len(data):
        raise refusals.ElementOutside(number)
    return int.from_bytes(data[start : start + item], "big", signed=True)


def check_children(position: Position, header: Header, children: Sequence[bytes]) -> bytes:
    """The digest of a node, from its descendants five levels down.

    Raises:
        ChildrenMalformed: another number of them, or not 32 bytes each.
        PaddingNotEmpty: something was put after the tensor's end.
    """
    count = 1 << levels_below(position.height)
    if position.height == 0 or len(children) != count or any(len(digest) != HASH_BYTES for digest in children):
        raise refusals.ChildrenMalformed(count)
    for number, digest in enumerate(children):
        below = child(position, number)
        if is_padding(below, header) and digest != empty(below.height):
            raise refusals.PaddingNotEmpty(number)
    row = list(children)
    while len(row) > 1:
        row = [merkle_node(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def check_leaf(number: int, header: Header, data: bytes) -> bytes:
    """The digest of a leaf, from its data without padding.

    Raises:
        LeafMalformed: another length than the header's.
    """
    if not 0 <= number < leaf_count(header) or len(data) != leaf_bytes(number, header):
        raise refusals.LeafMalformed(leaf_bytes(number, header), len(data))
    return tensor_leaf(data)


def committed(position: Position, header: Header, digest: bytes) -> bytes:
    """What was committed to of the node or leaf with this digest: at the top of a tree the tensor root."""
    at_top = position.height == depth(header)
    return tensor_digest(header.dtype, header.shape, digest) if at_top else digest


def opened_root(opening: Opening, header: Header) -> bytes:
    """The root of the tree to which a leaf and its path lead.

    Raises:
        LeafMalformed: another length than the header's.
        OpeningRejected: the path is not one digest for each level.
    """
    digest, path = check_leaf(opening.leaf, header, opening.data), opening.path
    if len(path) != depth(header) or any(len(sibling) != HASH_BYTES for sibling in path):
        raise refusals.OpeningRejected(opening.operand, opening.leaf, "path")
    for level, sibling in enumerate(path):
        digest = merkle_node(sibling, digest) if opening.leaf >> level & 1 else merkle_node(digest, sibling)
    return digest


def check_opening(opening: Opening, header: Header, root: bytes) -> None:
    """Check that a leaf lies in the tensor with this tensor root.

    Raises:
        OpeningRejected: it does not.
    """
    if len(opening.root) != HASH_BYTES or tensor_digest(header.dtype, header.shape, opening.root) != root:
        raise refusals.OpeningRejected(opening.operand, opening.leaf, "root")
    try:
        tree = opened_root(opening, header)
    except refusals.LeafMalformed as error:
        raise refusals.OpeningRejected(opening.operand, opening.leaf, str(error)) from error
    if tree != opening.root:
        raise refusals.OpeningRejected(opening.operand, opening.leaf, "path")


def root_of_bytes(data: bytes, header: Header) -> bytes | None:
    """The tensor root of raw tensor bytes; None if they are not as long as the header says."""
    if len(data) != header.size * ITEM_BYTES[header.dtype]:
        return None
    row = [tensor_leaf(data[at : at + LEAF_BYTES]) for at in range(0, len(data), LEAF_BYTES)]
    padding = EMPTY
    while len(row) > 1:
        if len(row) % 2:
            row.append(padding)
        row = [merkle_node(row[at], row[at + 1]) for at in range(0, len(row), 2)]
        padding = merkle_node(padding, padding)
    return tensor_digest(header.dtype, header.shape, row[0])
