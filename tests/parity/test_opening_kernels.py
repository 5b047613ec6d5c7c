"""The opening's numba loops against plain integers: hashing columns, rounds, folds, sums of powers."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from vml.backends.sumcheck.opening import kernels
from vml.backends.sumcheck.opening.columns import column_leaf, parent
from vml.field.goldilocks import ONE, ZERO, Ext, P, add, dot, mul, scale, sub
from vml.kernels_keccak import DIGEST_WORDS, WIDTH

EDGES = [0, 1, 2, 2**32 - 1, 2**32, 2**32 + 1, P - 2**32, P - 2, P - 1]


def drawn(seed: int, *shape: int) -> np.ndarray:
    """Elements, many of them where carries happen."""
    random = np.random.default_rng(seed)
    values = random.integers(0, P, shape, dtype=np.uint64)
    return np.where(random.random(shape) < 0.5, random.choice(np.array(EDGES, dtype=np.uint64), shape), values)


def exts(values: np.ndarray) -> list[Ext]:
    if values.ndim == 1:
        return [(value, 0) for value in values.tolist()]
    return [(low, high) for low, high in values.tolist()]


def halves(values: list[Ext], half: int) -> tuple[list[Ext], list[Ext]]:
    """Both halves, zeros where the array ends."""
    whole = values + [ZERO] * (2 * half - len(values))
    return whole[:half], whole[half:]


# Message lengths around the rate of 17 lanes, one of which is the tag.
@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 32, 33, 34, 50, 100])
@pytest.mark.parametrize("step", [1, 5, 16, 17, 100])
def test_columns_absorbed_in_pieces(rows: int, step: int) -> None:
    words = drawn(rows, rows, 5 * WIDTH)
    states = np.zeros((5, kernels.STATE_WORDS), dtype=np.uint64)
    digests = np.zeros((5 * WIDTH, DIGEST_WORDS), dtype=np.uint64)
    for done in range(0, rows, step):
        kernels.absorb(states, words[done : done + step], done, 0, 2)
        kernels.absorb(states, words[done : done + step], done, 2, 5)
    kernels.finish(states, rows, digests, 0, 4)
    kernels.finish(states, rows, digests, 4, 5)
    assert [digest.tobytes() for digest in digests] == [column_leaf(column) for column in words.T.tolist()]


def test_only_the_groups_asked_for_are_hashed() -> None:
    states = np.zeros((4, kernels.STATE_WORDS), dtype=np.uint64)
    kernels.absorb(states, drawn(1, 20, 4 * WIDTH), 0, 1, 3)
    assert not states[[0, 3]].any()
    digests = np.zeros((4 * WIDTH, DIGEST_WORDS), dtype=np.uint64)
    kernels.finish(states, 20, digests, 1, 3)
    assert not digests[:WIDTH].any()
    assert not digests[3 * WIDTH :].any()


def test_nodes() -> None:
    tree = np.zeros((16 * WIDTH, DIGEST_WORDS), dtype=np.uint64)
    tree[8 * WIDTH :] = drawn(2, 8 * WIDTH, DIGEST_WORDS)
    before = tree.copy()
    kernels.hash_nodes(tree, 4 * WIDTH, 0, 1)
    kernels.hash_nodes(tree, 4 * WIDTH, 1, 4)
    kernels.hash_nodes(tree, 2 * WIDTH, 0, 2)
    for node in range(2 * WIDTH, 8 * WIDTH):
        assert tree[node].tobytes() == parent(tree[2 * node].tobytes(), tree[2 * node + 1].tobytes())
    assert np.array_equal(tree[8 * WIDTH :], before[8 * WIDTH :])
    assert not tree[: 2 * WIDTH].any()


# Whole, a part of the high half missing, all of it, and a part of the low one too.
LENGTHS = [(1, 2), (8, 16), (8, 11), (8, 8), (8, 5), (700, 1400), (700, 1111), (1024, 1025), (1300, 1200)]


@pytest.mark.parametrize("width", [0, 2], ids=["base", "extension"])
@pytest.mark.parametrize(("half", "count"), LENGTHS)
def test_rounds(half: int, count: int, width: int) -> None:
    functional, values = drawn(3, count, 2), drawn(4, *(count, width)[: 1 + bool(width)])
    kernel = kernels.round_ext if width else kernels.round_base
    (f_low, f_high), (v_low, v_high) = halves(exts(functional), half), halves(exts(values), half)
    f_two = [sub(add(high, high), low) for low, high in zip(f_low, f_high, strict=True)]
    v_two = [sub(add(high, high), low) for low, high in zip(v_low, v_high, strict=True)]
    stop = min(half, count)
    for first, last in [(0, stop), (0, stop // 2), (stop // 3, stop), (stop, stop)]:
        found = tuple(map(int, kernel(functional, values, half, first, last)))
        assert found[:2] == dot(f_low[first:last], v_low[first:last])
        assert found[2:] == dot(f_two[first:last], v_two[first:last])


@pytest.mark.parametrize("challenge", [(0, 0), (1, 0), (P - 1, P - 1), (5, 2**63), (2**32, 2**32 - 1)], ids=str)
@pytest.mark.parametrize("width", [0, 2], ids=["base", "extension"])
@pytest.mark.parametrize(("half", "count"), LENGTHS)
def test_folds(half: int, count: int, width: int, challenge: Ext) -> None:
    values = drawn(5, *(count, width)[: 1 + bool(width)])
    kernel = kernels.fold_ext if width else kernels.fold_base
    size = min(half, count)
    out = np.zeros((size, 2), dtype=np.uint64)
    r0, r1 = np.uint64(challenge[0]), np.uint64(challenge[1])
    for first, last in [(0, size // 3), (size // 3, size)]:
        kernel(values, half, r0, r1, out, first, last)
    rest = sub(ONE, challenge)
    low, high = halves(exts(values), half)
    folded = [add(mul(rest, a), mul(challenge, b)) for a, b in zip(low, high, strict=True)]
    assert exts(out) == folded[:size]
    assert not any(a or b for a, b in folded[size:])


@pytest.mark.parametrize("queries", [1, 7, 40])
def test_sums_of_powers(queries: int) -> None:
    functional, points, weights = drawn(6, 50, 2), drawn(7, queries), drawn(8, queries, 2)
    expected = exts(functional)
    for i in range(50):
        for point, weight in zip(points.tolist(), exts(weights), strict=True):
            expected[i] = add(expected[i], scale(weight, pow(point, i, P)))
    for first, last in [(0, 13), (13, 50)]:
        starts = np.array([pow(point, first, P) for point in points.tolist()], dtype=np.uint64)
        before = starts.copy()
        kernels.add_powers(functional, points, starts, weights, first, last)
        assert np.array_equal(starts, before)
    assert exts(functional) == expected


def test_kernels_use_typed_literals_only() -> None:
    """In numba uint64 + 1 is signed: a soundness bug waiting to happen."""
    tree = ast.parse(Path(kernels.__file__).read_text(encoding="utf-8"))
    found = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any("njit" in ast.dump(item) for item in node.decorator_list)
    ]
    assert {kernel.name for kernel in found} >= {"absorb", "round_base", "round_ext", "fold_base", "add_powers"}
    for kernel in found:
        for node in ast.walk(kernel):
            if isinstance(node, ast.BinOp | ast.AugAssign | ast.Compare):
                bare = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.Constant)]
                assert not bare, f"{kernel.name}, line {node.lineno}: give the literal a type"
