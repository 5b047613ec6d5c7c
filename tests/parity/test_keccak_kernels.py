"""The numba kernels against one pycryptodome call a message, and the lint that keeps their types."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vml import kernels_keccak, merkle
from vml.keccak import keccak256

DTYPES = [np.dtype(name) for name in merkle.DTYPES]


def naive_leaves(array: np.ndarray) -> bytes:
    data = merkle.tensor_bytes(array)
    return b"".join(merkle.tensor_leaf(data[at : at + 1024]) for at in range(0, len(data), 1024))


def naive_nodes(packed: bytes) -> bytes:
    return b"".join(keccak256(b"\x01" + packed[at : at + 64]) for at in range(0, len(packed), 64))


def drawn(seed: int, dtype: np.dtype, count: int) -> np.ndarray:
    bounds = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(bounds.min, bounds.max, count, dtype=dtype, endpoint=True)


def test_permutation_of_zeros_is_the_published_one() -> None:
    """Source: KeccakF-1600-IntermediateValues.txt of the Keccak team, first permutation of the zero state."""
    state = np.zeros(25 * kernels_keccak.WIDTH, dtype=np.uint64)
    kernels_keccak.permute(state)
    lanes = state.reshape(25, kernels_keccak.WIDTH)
    assert np.all(lanes == lanes[:, :1])
    assert [int(lane) for lane in lanes[:3, 0]] == [
        0xF1258F7940E1DDE7,
        0x84D5CCF933C0478A,
        0xD598261EA65AA9EE,
    ]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), dtype=st.sampled_from(DTYPES), count=st.integers(1, 40_000))
def test_leaves(seed: int, dtype: np.dtype, count: int) -> None:
    array = drawn(seed, dtype, count)
    assert kernels_keccak.leaf_digests(array) == naive_leaves(array)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), pairs=st.integers(1, 3000))
def test_nodes(seed: int, pairs: int) -> None:
    packed = np.random.default_rng(seed).bytes(64 * pairs)
    assert kernels_keccak.node_digests(packed) == naive_nodes(packed)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [1023, 1024, 1025, 8 * 1024, 8 * 1024 + 8, 1025 * 1024 - 8, 1040 * 1024])
def test_sizes_around_leaves_groups_and_threads(dtype: np.dtype, size: int) -> None:
    array = drawn(size, dtype, max(size // dtype.itemsize, 1))
    assert kernels_keccak.leaf_digests(array) == naive_leaves(array)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_memory_layout_has_one_root(dtype: np.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transposed, strided, byte-swapped, unaligned: in bulk or not, only the elements count."""
    plain = drawn(7, dtype, 180_000).reshape(300, 600)
    unaligned = np.frombuffer(b"\0" + plain.tobytes(), dtype=dtype, offset=1).reshape(plain.shape)
    doubled = np.repeat(plain, 2, axis=1)
    layouts = [
        plain,
        np.asfortranarray(plain),
        doubled[:, ::2],
        plain.astype(dtype.newbyteorder(">")),
        unaligned,
        plain[::-1, ::-1].copy()[::-1, ::-1],
    ]
    monkeypatch.setattr(merkle, "_CHUNK_BYTES", 64 * merkle.LEAF_BYTES)
    in_bulk = [merkle.tensor_root(layout) for layout in layouts]
    monkeypatch.setattr(merkle, "_bulk_pays", lambda size: False)
    without = [merkle.tensor_root(layout) for layout in layouts]
    assert len({*in_bulk, *without}) == 1


def test_bulk_is_chosen_by_size_and_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    assert merkle._bulk_pays(16 * merkle.LEAF_BYTES)
    assert not merkle._bulk_pays(merkle.LEAF_BYTES)
    monkeypatch.setattr(sys, "byteorder", "big")
    assert not merkle._bulk_pays(merkle.BULK_BYTES)
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "vml.kernels_keccak")
    assert not merkle._bulk_pays(16 * merkle.LEAF_BYTES)
    assert merkle._bulk_pays(merkle.BULK_BYTES)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not merkle._bulk_pays(merkle.BULK_BYTES)


def test_kernels_use_typed_literals_only() -> None:
    """In numba uint64 + 1 is signed: a soundness bug waiting to happen."""
    tree = ast.parse(Path(kernels_keccak.__file__).read_text(encoding="utf-8"))
    kernels = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any("njit" in ast.dump(item) for item in node.decorator_list)
    ]
    assert {kernel.name for kernel in kernels} >= {"permute", "hash_leaves", "hash_nodes"}
    for kernel in kernels:
        for node in ast.walk(kernel):
            if isinstance(node, ast.BinOp | ast.AugAssign | ast.Compare):
                bare = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.Constant)]
                assert not bare, f"{kernel.name}, line {node.lineno}: give the literal a type"
