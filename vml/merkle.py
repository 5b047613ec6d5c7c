"""Commitments: Merkle trees over tensors and over graph descriptors, and what is hashed on top of them.

H is Keccak-256, || is concatenation, integers are big-endian::

    leaf        = H(0x00 || 1024 bytes, the last leaf zero-padded)
    node        = H(0x01 || left || right)
    tensor      = H(0x02 || dtype u8 || rank u8 || dims u64 each || merkle root)
    tensors     = H(0x03 || n u32 || tensor roots in graph order)
    descriptor  = H(0x04 || descriptor bytes)
    graph       = H(0x05 || n u32 || merkle root of the descriptor leaves)
    model       = H(0x06 || semantics digest || graph root || H(input spec) || H(output spec))
    trace       = H(0x24 || n u32 || merkle root of the tensor roots of all n operators)
    hidden      = H(0x10 || 32-byte salt || root)

A tree is padded on the right to 2**k leaves, k >= 0: tensor trees and traces with H(0x00 || 1024 zero bytes),
descriptor trees with H(0x04). One leaf is its own root. The first byte tells every preimage apart; the header
in `tensor` and the count in `graph` and `trace` fix how many leaves are genuine, so padding cannot pose as data.

Tensor bytes are row-major and two's complement big-endian of their dtype, each tensor at least one element. Tensors of
other number types are hashed alike, by `vml.values`: what is made here is of signed integers.

Tensors of `BULK_BYTES` and more are hashed by the numba kernels of `vml.kernels_keccak` where numba is
installed (extra ``compile``); without it, as in the base install, pycryptodome gives the same bytes, slower.

``verifier_contracts/src/libraries/VmlCommitment.sol`` computes the same.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vml.errors import ProofRejected
from vml.keccak import HASH_BYTES, keccak256

if TYPE_CHECKING:
    import numpy as np

    IntegerArray = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]

LEAF_BYTES = 1024

TAG_LEAF = b"\x00"
TAG_NODE = b"\x01"
TAG_TENSOR = b"\x02"
TAG_TENSORS = b"\x03"
TAG_DESCRIPTOR = b"\x04"
TAG_GRAPH = b"\x05"
TAG_MODEL = b"\x06"
TAG_HIDDEN = b"\x10"
TAG_TRACE = b"\x24"

EMPTY = keccak256(TAG_LEAF + bytes(LEAF_BYTES))
EMPTY_DESCRIPTOR = keccak256(TAG_DESCRIPTOR)

DTYPES = {"int8": 1, "int16": 2, "int32": 3, "int64": 4}
ITEM_BYTES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8}
VALUE_DTYPES = DTYPES | {
    name: code
    for code, name in enumerate(("float16", "float32", "float64", "uint8", "uint16", "uint32", "uint64", "bool"), 5)
}
"""Every number type that has a code; those after `DTYPES` are hashed by `vml.values` alone."""

MAX_DEPTH = 64
BULK_BYTES = 4 << 20  # where loading numba (about 0.3 s) costs less than hashing without it
_CHUNK_BYTES = 4 << 20  # a multiple of LEAF_BYTES: copies made while hashing stay this small


def tree_depth(leaf_count: int) -> int:
    """The smallest k with 2**k >= leaf_count.

    Args:
        leaf_count: number of genuine leaves, >= 1.

    Raises:
        ValueError: no leaves.
    """
    if leaf_count < 1:
        raise ValueError("a tree has at least one leaf")
    return (leaf_count - 1).bit_length()


def merkle_node(left: bytes, right: bytes) -> bytes:
    """H(0x01 || left || right), two 32-byte children."""
    return keccak256(TAG_NODE + left + right)


class Tree:
    """A Merkle tree that can open its leaves.

    Args:
        leaves: 32-byte leaf digests, one or more, in order.
        empty: 32-byte digest that pads the tree on the right to a power of two.

    Raises:
        ValueError: no leaves, or a digest that is not 32 bytes.
    """

    __slots__ = ("_empties", "_levels", "depth", "leaf_count")

    def __init__(self, leaves: Sequence[bytes], empty: bytes) -> None:
        if any(len(leaf) != HASH_BYTES for leaf in leaves):
            raise ValueError(f"every leaf digest must be {HASH_BYTES} bytes")
        self._build(b"".join(leaves), empty)

    @classmethod
    def from_packed(cls, leaves: bytes, empty: bytes) -> Tree:
        """The same tree from leaf digests laid end to end.

        Args:
            leaves: n * 32 bytes, n >= 1.
            empty: as in the class.
        """
        tree = cls.__new__(cls)
        tree._build(leaves, empty)
        return tree

    def _build(self, packed: bytes, empty: bytes) -> None:
        if len(empty) != HASH_BYTES or len(packed) % HASH_BYTES:
            raise ValueError(f"every leaf digest must be {HASH_BYTES} bytes")
        self.leaf_count = len(packed) // HASH_BYTES
        self.depth = tree_depth(self.leaf_count)
        # Only genuine nodes are stored; all padding of one level has one digest.
        self._levels, self._empties = [packed], [empty]
        for _ in range(self.depth):
            packed, empty = _parents(packed, empty), merkle_node(empty, empty)
            self._levels.append(packed)
            self._empties.append(empty)

    @property
    def root(self) -> bytes:
        """The 32-byte root."""
        return self._levels[-1]

    def node(self, height: int, index: int) -> bytes:
        """One digest of the tree.

        Args:
            height: levels above the leaves, 0 <= height <= depth.
            index: number from the left in its level, 0 <= index < 2**(depth - height); padding has digests too.

        Raises:
            ValueError: no such node.
        """
        if not 0 <= height <= self.depth or not 0 <= index < 1 << (self.depth - height):
            raise ValueError(f"no node {index} at height {height} of a tree of depth {self.depth}")
        start = index * HASH_BYTES
        return self._levels[height][start : start + HASH_BYTES] or self._empties[height]

    def open(self, index: int) -> list[bytes]:
        """The siblings of one leaf, from the leaf's up to the root's children.

        Args:
            index: leaf number, 0 <= index < 2**depth; padding can be opened too.

        Returns:
            `depth` digests of 32 bytes.

        Raises:
            ValueError: no such leaf.
        """
        if not 0 <= index < 1 << self.depth:
            raise ValueError(f"leaf {index} is outside 0 .. {(1 << self.depth) - 1}")
        path = []
        for level, empty in zip(self._levels[:-1], self._empties[:-1], strict=True):
            start = (index ^ 1) * HASH_BYTES
            path.append(level[start : start + HASH_BYTES] or empty)
            index >>= 1
        return path


def _parents(packed: bytes, empty: bytes) -> bytes:
    """One level up: n digests end to end become ceil(n / 2)."""
    if len(packed) // HASH_BYTES % 2:
        packed += empty
    pair = 2 * HASH_BYTES
    if _bulk_pays(len(packed) // HASH_BYTES * LEAF_BYTES):
        from vml import kernels_keccak

        return kernels_keccak.node_digests(packed)
    return b"".join(keccak256(TAG_NODE + packed[at : at + pair]) for at in range(0, len(packed), pair))


def merkle_root(leaves: Sequence[bytes], empty: bytes) -> bytes:
    """The root of a padded tree.

    Args:
        leaves: 32-byte leaf digests, one or more.
        empty: 32-byte digest used as padding.

    Returns:
        32 bytes.

    Raises:
        ValueError: no leaves, or a digest that is not 32 bytes.
    """
    return Tree(leaves, empty).root


def verify_opening(root: bytes, leaf: bytes, index: int, path: Sequence[bytes], depth: int) -> None:
    """Check that a leaf stands at an index of the tree with this root. Returns nothing or raises.

    Args:
        root: 32-byte root the caller trusts.
        leaf: 32-byte leaf digest, computed by the caller from the data.
        index: leaf number the caller asked for.
        path: sibling digests from anyone, the leaf's first.
        depth: depth the caller knows from the committed header, 0 <= depth <= MAX_DEPTH.

    Raises:
        ProofRejected: the path has another length, the index lies outside the tree, or the root differs.
        ValueError: `depth` is out of range, or `root` or `leaf` is not 32 bytes.

    Source: RFC 9162, section 2.1.3.2, for a tree of fixed depth.
    """
    if not 0 <= depth <= MAX_DEPTH:
        raise ValueError(f"depth must be in 0 .. {MAX_DEPTH}, got {depth}")
    if len(root) != HASH_BYTES or len(leaf) != HASH_BYTES:
        raise ValueError(f"root and leaf must be {HASH_BYTES} bytes")
    # step 1: the path has one sibling a level. A shorter one would let a node pose as a leaf.
    if len(path) != depth:
        raise ProofRejected("merkle 1: path length", depth, len(path))
    # step 2: every sibling is one digest, so that no other split of the same bytes hashes alike.
    if any(not isinstance(sibling, bytes) or len(sibling) != HASH_BYTES for sibling in path):
        raise ProofRejected("merkle 2: sibling size", f"{HASH_BYTES} bytes each", "another size")
    # step 3: the index lies in the tree. Higher bits are ignored below: one leaf would have many names.
    if not 0 <= index < 1 << depth:
        raise ProofRejected("merkle 3: leaf index", f"0 .. {(1 << depth) - 1}", index)
    # step 4: hashing up from the leaf gives the root.
    node = leaf
    for level, sibling in enumerate(path):
        node = merkle_node(sibling, node) if index >> level & 1 else merkle_node(node, sibling)
    if node != root:
        raise ProofRejected("merkle 4: root", root.hex(), node.hex())


def tensor_leaf(chunk: bytes) -> bytes:
    """H(0x00 || chunk, zero-padded to 1024 bytes).

    Args:
        chunk: 1 to 1024 bytes of tensor data.

    Raises:
        ValueError: another length.
    """
    if not 1 <= len(chunk) <= LEAF_BYTES:
        raise ValueError(f"a leaf holds 1 to {LEAF_BYTES} bytes, got {len(chunk)}")
    return keccak256(TAG_LEAF + chunk.ljust(LEAF_BYTES, b"\0"))


def tensor_bytes(array: IntegerArray) -> bytes:
    """The bytes that are committed to: row-major, two's complement big-endian.

    Args:
        array: int8, int16, int32 or int64, any shape with at least one element, any memory layout.

    Raises:
        TypeError: not an array of one of these dtypes.
        ValueError: no elements.
    """
    _dtype_name(array)
    if not array.shape:
        array = array.reshape(1)  # a numpy scalar, unlike an array, forgets its byte order
    return array.astype(array.dtype.newbyteorder(">"), order="C", copy=False).tobytes()


def tensor_leaf_count(dtype: str, shape: Sequence[int]) -> int:
    """How many genuine leaves a tensor has.

    Args:
        dtype: a key of `DTYPES`.
        shape: dimensions, each >= 1; no dimensions means one element.

    Raises:
        ValueError: unknown dtype or a bad shape.
    """
    _check_header(dtype, shape)
    size = ITEM_BYTES[dtype]
    for dim in shape:
        size *= dim
    return -(-size // LEAF_BYTES)


def tensor_tree(array: IntegerArray) -> Tree:
    """The Merkle tree over a tensor's leaves.

    Args:
        array: int8, int16, int32 or int64, any shape with at least one element, any memory layout. Copies
            made on the way stay below a few MiB, besides 32 bytes of digest for each 1024 bytes.

    Raises:
        TypeError: not an array of one of these dtypes.
        ValueError: no elements.
    """
    _dtype_name(array)
    return Tree.from_packed(_leaf_digests(array), EMPTY)


def tensor_digest(dtype: str, shape: Sequence[int], root: bytes) -> bytes:
    """H(0x02 || dtype || rank || dims || merkle root): the tensor root, from its header and its tree's root.

    Args:
        dtype: a key of `VALUE_DTYPES`.
        shape: dimensions, each 1 .. 2**64 - 1, at most 255 of them.
        root: 32 bytes.

    Raises:
        ValueError: unknown dtype, a bad shape, or a root that is not 32 bytes.
    """
    _check_header(dtype, shape, VALUE_DTYPES)
    _require_digest("merkle root", root)
    dims = b"".join(dim.to_bytes(8, "big") for dim in shape)
    return keccak256(TAG_TENSOR + bytes([VALUE_DTYPES[dtype], len(shape)]) + dims + root)


def tensor_root(array: IntegerArray) -> bytes:
    """The commitment of one tensor.

    Args:
        array: int8, int16, int32 or int64, any shape with at least one element, any memory layout.

    Returns:
        32 bytes.

    Raises:
        TypeError: not an array of one of these dtypes.
        ValueError: no elements.
    """
    return tensor_digest(_dtype_name(array), array.shape, tensor_tree(array).root)


def tensors_root(roots: Sequence[bytes]) -> bytes:
    """The commitment of several tensors, or of one: what goes into `Claim.input` and `Claim.output`.

    Args:
        roots: tensor roots of 32 bytes in graph order, at least one.

    Returns:
        32 bytes.

    Raises:
        ValueError: no roots, or a root that is not 32 bytes.
    """
    if not roots:
        raise ValueError("a list of tensors has at least one")
    for root in roots:
        _require_digest("tensor root", root)
    return keccak256(TAG_TENSORS + len(roots).to_bytes(4, "big") + b"".join(roots))


def descriptor_leaf(descriptor: bytes) -> bytes:
    """H(0x04 || descriptor bytes): one operator of a graph.

    Args:
        descriptor: at least one byte; no bytes at all are the padding of the tree.

    Raises:
        ValueError: an empty descriptor.
    """
    if not descriptor:
        raise ValueError("a descriptor has at least one byte")
    return keccak256(TAG_DESCRIPTOR + descriptor)


def graph_tree(descriptors: Sequence[bytes]) -> Tree:
    """The Merkle tree over a graph's descriptors, one or more, in evaluation order."""
    return Tree([descriptor_leaf(descriptor) for descriptor in descriptors], EMPTY_DESCRIPTOR)


def graph_digest(count: int, root: bytes) -> bytes:
    """H(0x05 || n || merkle root): the graph root, from its length and its tree's root.

    Args:
        count: number of descriptors, 1 .. 2**32 - 1.
        root: 32 bytes.

    Raises:
        ValueError: a count out of range, or a root that is not 32 bytes.
    """
    if not 1 <= count < 1 << 32:
        raise ValueError(f"a graph has 1 to 2**32 - 1 descriptors, got {count}")
    _require_digest("merkle root", root)
    return keccak256(TAG_GRAPH + count.to_bytes(4, "big") + root)


def graph_root(descriptors: Sequence[bytes]) -> bytes:
    """The commitment of a graph.

    Args:
        descriptors: binary operator descriptors in evaluation order, one or more, none empty.

    Returns:
        32 bytes.

    Raises:
        ValueError: no descriptors, or an empty one.
    """
    return graph_digest(len(descriptors), graph_tree(descriptors).root)


def model_digest(semantics: bytes, graph: bytes, input_spec: bytes, output_spec: bytes) -> bytes:
    """The identity of an exact model: what goes into `Claim.model`.

    Args:
        semantics: 32-byte digest of the semantics name and its tables.
        graph: 32-byte graph root.
        input_spec: the input specification's bytes, hashed here.
        output_spec: the output specification's bytes, hashed here.

    Returns:
        32 bytes.

    Raises:
        ValueError: a digest that is not 32 bytes.
    """
    _require_digest("semantics digest", semantics)
    _require_digest("graph root", graph)
    return keccak256(TAG_MODEL + semantics + graph + keccak256(input_spec) + keccak256(output_spec))


def trace_tree(roots: Sequence[bytes]) -> Tree:
    """The Merkle tree over the tensor roots of all operators of one evaluation, one or more, in order."""
    return Tree(roots, EMPTY)


def trace_digest(count: int, root: bytes) -> bytes:
    """H(0x24 || n || merkle root): the commitment to a trace, from its length and its tree's root.

    Args:
        count: number of operators, 1 .. 2**32 - 1.
        root: 32 bytes.

    Raises:
        ValueError: a count out of range, or a root that is not 32 bytes.
    """
    if not 1 <= count < 1 << 32:
        raise ValueError(f"a trace has 1 to 2**32 - 1 operators, got {count}")
    _require_digest("merkle root", root)
    return keccak256(TAG_TRACE + count.to_bytes(4, "big") + root)


def trace_root(roots: Sequence[bytes]) -> bytes:
    """The commitment to the tensor roots of all operators of one evaluation.

    Args:
        roots: 32 bytes each, one or more, in the order of the graph.

    Raises:
        ValueError: no roots, or one that is not 32 bytes.
    """
    return trace_digest(len(roots), trace_tree(roots).root)


def hidden_field(salt: bytes, root: bytes) -> bytes:
    """H(0x10 || salt || root): a claim field whose preimage stays with its owner.

    Args:
        salt: 32 secret random bytes, without which small inputs could be guessed.
        root: 32-byte commitment to hide.

    Raises:
        ValueError: either is not 32 bytes.
    """
    _require_digest("salt", salt)
    _require_digest("root", root)
    return keccak256(TAG_HIDDEN + salt + root)


def _dtype_name(array: IntegerArray) -> str:
    name = getattr(getattr(array, "dtype", None), "name", None)
    if name not in DTYPES:
        got = name or type(array).__name__
        raise TypeError(f"a committed tensor is an array of {', '.join(DTYPES)}, got {got}")
    if array.size == 0:
        raise ValueError(f"a committed tensor has at least one element, got shape {array.shape}")
    return str(name)


def _check_header(dtype: str, shape: Sequence[int], known: Iterable[str] = DTYPES) -> None:
    if dtype not in known:
        raise ValueError(f"dtype must be one of {', '.join(known)}, got {dtype!r}")
    if len(shape) > 255 or not all(1 <= dim < 1 << 64 for dim in shape):
        raise ValueError(f"a shape has at most 255 dimensions, each 1 .. 2**64 - 1, got {tuple(shape)}")


def _require_digest(name: str, value: bytes) -> None:
    if len(value) != HASH_BYTES:
        raise ValueError(f"{name} must be {HASH_BYTES} bytes, got {len(value)}")


def _bulk_pays(size: int) -> bool:
    """Whether the numba kernels should hash this many bytes: they are loaded already, or worth loading."""
    if sys.byteorder != "little":
        return False
    if "vml.kernels_keccak" in sys.modules:
        return size >= 16 * LEAF_BYTES
    return size >= BULK_BYTES and importlib.util.find_spec("numba") is not None


def _chunks(array: IntegerArray) -> Iterator[IntegerArray]:
    """The elements in row-major order, a few MiB at a time, so that no layout needs a whole copy."""
    flat = array.reshape(-1) if array.flags.c_contiguous else array.flat
    step = _CHUNK_BYTES // array.dtype.itemsize
    for start in range(0, array.size, step):
        yield flat[start : start + step]


def _leaf_digests(array: IntegerArray) -> bytes:
    if _bulk_pays(array.nbytes):
        from vml import kernels_keccak

        if kernels_keccak.takes(array):
            return kernels_keccak.leaf_digests(array)
        little = array.dtype.newbyteorder("<")
        return b"".join(kernels_keccak.leaf_digests(chunk.astype(little)) for chunk in _chunks(array))
    digests = []
    for chunk in _chunks(array):
        data = tensor_bytes(chunk)
        digests += [tensor_leaf(data[at : at + LEAF_BYTES]) for at in range(0, len(data), LEAF_BYTES)]
    return b"".join(digests)
