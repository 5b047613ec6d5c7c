"""Trees and commitments: openings, tampering, and what callers must not pass."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vml import merkle
from vml.claim import ZERO_CONTEXT, Claim
from vml.errors import ProofRejected
from vml.keccak import keccak256

digests = st.binary(min_size=32, max_size=32)
trees = st.lists(digests, min_size=1, max_size=40).map(lambda leaves: merkle.Tree(leaves, merkle.EMPTY))


@st.composite
def openings(draw: st.DrawFn) -> tuple[bytes, bytes, int, list[bytes], int]:
    """A genuine opening: root, leaf, index, path, depth."""
    leaves = draw(st.lists(digests, min_size=2, max_size=40, unique=True))
    tree = merkle.Tree(leaves, merkle.EMPTY)
    index = draw(st.integers(0, len(leaves) - 1))
    return tree.root, leaves[index], index, tree.open(index), tree.depth


def test_one_leaf_is_its_own_root() -> None:
    leaf = keccak256(b"leaf")
    tree = merkle.Tree([leaf], merkle.EMPTY)
    assert (tree.root, tree.depth, tree.open(0)) == (leaf, 0, [])
    merkle.verify_opening(leaf, leaf, 0, [], 0)


@given(leaves=st.lists(digests, min_size=1, max_size=40))
def test_every_leaf_and_every_padding_opens(leaves: list[bytes]) -> None:
    tree = merkle.Tree(leaves, merkle.EMPTY)
    assert tree.leaf_count == len(leaves) <= 2**tree.depth < 2 * len(leaves)
    for index, leaf in enumerate(leaves + [merkle.EMPTY] * (2**tree.depth - len(leaves))):
        merkle.verify_opening(tree.root, leaf, index, tree.open(index), tree.depth)


@given(opening=openings(), bit=st.integers(0, 255), data=st.data())
def test_an_altered_opening_is_refused(
    opening: tuple[bytes, bytes, int, list[bytes], int], bit: int, data: st.DataObject
) -> None:
    root, leaf, index, path, depth = opening
    mask = (1 << bit).to_bytes(32, "big")

    def flipped(digest: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(digest, mask, strict=True))

    merkle.verify_opening(root, leaf, index, path, depth)
    level = data.draw(st.integers(0, depth - 1))
    other = data.draw(st.integers(0, 2**depth - 1).filter(lambda value: value != index))
    altered = [
        (flipped(root), leaf, index, path),
        (root, flipped(leaf), index, path),
        (root, leaf, other, path),
        (root, leaf, index, [*path[:level], flipped(path[level]), *path[level + 1 :]]),
    ]
    for bad_root, bad_leaf, bad_index, bad_path in altered:
        with pytest.raises(ProofRejected, match="merkle 4"):
            merkle.verify_opening(bad_root, bad_leaf, bad_index, bad_path, depth)


@given(opening=openings(), extra=digests)
def test_path_length_is_checked(opening: tuple[bytes, bytes, int, list[bytes], int], extra: bytes) -> None:
    root, leaf, index, path, depth = opening
    for bad in (path[:-1], [*path, extra]):
        with pytest.raises(ProofRejected, match="merkle 1"):
            merkle.verify_opening(root, leaf, index, bad, depth)


@given(opening=openings())
def test_a_node_cannot_pose_as_a_leaf(opening: tuple[bytes, bytes, int, list[bytes], int]) -> None:
    """The parent with the rest of its path hashes to the root, and is refused for its length alone."""
    root, leaf, index, path, depth = opening
    left, right = (path[0], leaf) if index & 1 else (leaf, path[0])
    parent = merkle.merkle_node(left, right)
    merkle.verify_opening(root, parent, index >> 1, path[1:], depth - 1)
    with pytest.raises(ProofRejected, match="merkle 1"):
        merkle.verify_opening(root, parent, index >> 1, path[1:], depth)


@given(opening=openings(), high=st.integers(1, 2**70))
def test_an_index_has_one_name(opening: tuple[bytes, bytes, int, list[bytes], int], high: int) -> None:
    """Bits above the depth would lead to the same root."""
    root, leaf, index, path, depth = opening
    for bad in (index + (high << depth), index - (high << depth)):
        with pytest.raises(ProofRejected, match="merkle 3"):
            merkle.verify_opening(root, leaf, bad, path, depth)


@given(opening=openings(), cut=st.integers(1, 31))
def test_siblings_have_one_size(opening: tuple[bytes, bytes, int, list[bytes], int], cut: int) -> None:
    """Bytes moved between a leaf and its sibling would leave the concatenation as it was."""
    root, leaf, index, path, depth = opening
    for bad in (path[0][:cut], path[0] + bytes(cut), b"", path[0].hex()):
        with pytest.raises(ProofRejected, match="merkle 2"):
            merkle.verify_opening(root, leaf, index, [bad, *path[1:]], depth)  # type: ignore[list-item]


@given(tree=trees, index=st.integers())
def test_open_stays_in_the_tree(tree: merkle.Tree, index: int) -> None:
    if 0 <= index < 2**tree.depth:
        assert len(tree.open(index)) == tree.depth
    else:
        with pytest.raises(ValueError, match="outside"):
            tree.open(index)


@pytest.mark.parametrize(
    "refused",
    [
        lambda: merkle.Tree([], merkle.EMPTY),
        lambda: merkle.Tree([bytes(31)], merkle.EMPTY),
        lambda: merkle.Tree([bytes(16), bytes(48)], merkle.EMPTY),
        lambda: merkle.Tree([bytes(32)], b""),
        lambda: merkle.Tree.from_packed(bytes(33), merkle.EMPTY),
        lambda: merkle.verify_opening(bytes(31), bytes(32), 0, [], 0),
        lambda: merkle.verify_opening(bytes(32), bytes(33), 0, [], 0),
        lambda: merkle.verify_opening(bytes(32), bytes(32), 0, [], -1),
        lambda: merkle.tensors_root([bytes(31)]),
        lambda: merkle.graph_digest(0, bytes(32)),
        lambda: merkle.graph_digest(2**32, bytes(32)),
        lambda: merkle.model_digest(bytes(31), bytes(32), b"", b""),
        lambda: merkle.model_digest(bytes(32), bytes(33), b"", b""),
        lambda: merkle.hidden_field(b"salt", bytes(32)),
        lambda: merkle.tensor_root(np.zeros((3, 0), dtype=np.int16)),
        lambda: merkle.tensor_bytes(np.zeros(0, dtype=np.int8)),
        lambda: merkle.tensor_leaf_count("float32", [1]),
    ],
)
def test_a_callers_mistake_is_a_value_error(refused: object) -> None:
    with pytest.raises(ValueError):
        refused()  # type: ignore[operator]


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(1, dtype=np.float32),
        np.zeros(1, dtype=np.uint8),
        np.zeros(1, dtype=bool),
        np.zeros(1, dtype=object),
        [1, 2],
        b"bytes",
        None,
    ],
    ids=repr,
)
def test_only_signed_integer_arrays_are_committed(value: object) -> None:
    with pytest.raises(TypeError, match="committed tensor"):
        merkle.tensor_root(value)  # type: ignore[arg-type]


# ---- what a tensor root binds


@given(array=npst.arrays(np.int16, npst.array_shapes(max_dims=3, max_side=9)))
def test_bytes_are_row_major_big_endian(array: np.ndarray) -> None:
    expected = b"".join(int(value).to_bytes(2, "big", signed=True) for value in array.reshape(-1))
    assert merkle.tensor_bytes(array) == expected
    assert merkle.tensor_leaf_count("int16", array.shape) == -(-len(expected) // merkle.LEAF_BYTES)


def test_shape_dtype_and_padding_are_bound() -> None:
    """The same bytes under another header, and zeros that only padding added, give other roots."""
    zeros = np.zeros(24, dtype=np.int16)
    variants = [
        zeros,
        zeros.reshape(24, 1),
        zeros.reshape(4, 6),
        zeros.reshape(6, 4),
        zeros.view(np.int8),
        zeros.view(np.int64),
        np.zeros(25, dtype=np.int16),
        np.zeros(512, dtype=np.int16),
        np.zeros(1536, dtype=np.int16),
        np.zeros(2048, dtype=np.int16),
    ]
    assert len({merkle.tensor_root(variant) for variant in variants}) == len(variants)


def test_kinds_of_commitment_do_not_meet() -> None:
    """One digest in every role: the tags keep the results apart."""
    root = keccak256(b"root")
    results = [
        merkle.tensors_root([root]),
        merkle.graph_digest(1, root),
        merkle.tensor_digest("int8", [1], root),
        merkle.descriptor_leaf(root),
        merkle.merkle_node(root, root),
        merkle.hidden_field(root, root),
        merkle.tensor_leaf(root),
        root,
    ]
    assert len(set(results)) == len(results)


@given(descriptors=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=9))
def test_a_graph_is_bound_by_order_and_length(descriptors: list[bytes]) -> None:
    root = merkle.graph_root(descriptors)
    assert merkle.graph_root([*descriptors, b"\0"]) != root
    if descriptors != descriptors[::-1]:
        assert merkle.graph_root(descriptors[::-1]) != root


def test_the_worked_example_of_the_documentation() -> None:
    tensor = np.array([[-32768, 32767, -1], [0, 1, 258]], dtype=np.int16)
    tensors = merkle.tensors_root([merkle.tensor_root(tensor)])
    graph = merkle.graph_root([b"first", b"second", b"third"])
    model = merkle.model_digest(keccak256(b"semantics"), graph, b"input", b"output")
    page = (Path(__file__).parents[1] / "docs" / "commitments.md").read_text(encoding="utf-8")
    assert f"digest       {Claim(model, tensors, tensors, ZERO_CONTEXT).digest().hex()}\n" in page


def test_a_large_tensor_is_not_copied() -> None:
    """Committing to 32 MB takes at most 16 MB besides the tensor, in whatever layout it lies."""
    array = np.arange(16_000_000, dtype=np.int16).reshape(4000, 4000)
    expected = merkle.tensor_root(array.T)
    for layout in (array.T, np.ascontiguousarray(array.T)):
        tracemalloc.start()
        try:
            assert merkle.tensor_root(layout) == expected
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < array.nbytes // 2


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_a_tensor_without_dimensions(dtype: str) -> None:
    """As an array, and as the scalar that numpy makes of it on many occasions."""
    value = np.dtype(dtype).type(-100)
    wanted = (-100).to_bytes(value.itemsize, "big", signed=True)
    assert merkle.tensor_bytes(np.array(value)) == merkle.tensor_bytes(value) == wanted
    assert merkle.tensor_root(np.array(value)) == merkle.tensor_root(value)
