"""The log's tree: published vectors, a naive twin, the laws of proofs, and forged ones."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vml.errors import LogRejected
from vml.transparency import tree

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors/logs.json").read_text(encoding="utf-8"))
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]


def hexed(items: list[str]) -> list[bytes]:
    return [bytes.fromhex(item) for item in items]


class Naive:
    """The tree as RFC 6962 defines it, recomputed from all entries each time."""

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries

    def root(self, start: int, end: int) -> bytes:
        if start == end:
            return hashlib.sha256().digest()
        if end - start == 1:
            return hashlib.sha256(b"\x00" + self.entries[start]).digest()
        k = 1
        while 2 * k < end - start:
            k *= 2
        return hashlib.sha256(b"\x01" + self.root(start, start + k) + self.root(start + k, end)).digest()


class Log:
    """The tree as a log keeps it."""

    def __init__(self) -> None:
        self.size, self.nodes = 0, dict[tree.Node, bytes]()

    def append(self, entries: list[bytes]) -> None:
        edge = {node: self.nodes[node] for node in tree.full_ranges(0, self.size)}
        self.nodes.update(tree.grown(self.size, edge, [tree.leaf_hash(entry) for entry in entries]))
        self.size += len(entries)

    def root(self, size: int) -> bytes:
        return tree.fold([self.nodes[node] for node in tree.full_ranges(0, size)])

    def inclusion(self, index: int, size: int) -> list[bytes]:
        return tree.joined(tree.inclusion_ranges(index, size), self.nodes)

    def consistency(self, first: int, second: int) -> list[bytes]:
        return tree.joined(tree.consistency_ranges(first, second), self.nodes)


def filled(count: int) -> Log:
    log = Log()
    log.append([str(number).encode() for number in range(count)])
    return log


def rfc_9162_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes | None:
    """RFC 9162, section 2.1.3.2, step by step: the root that follows, None where it fails."""
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            r = tree.node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = tree.node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return r if sn == 0 else None


def rfc_9162_consistency(first: int, second: int, first_root: bytes, proof: list[bytes]) -> tuple[bytes, bytes] | None:
    """RFC 9162, section 2.1.4.2, for 0 < first < second."""
    if not proof:
        return None
    if first & (first - 1) == 0:
        proof = [first_root, *proof]
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for c in proof[1:]:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            fr, sr = tree.node_hash(c, fr), tree.node_hash(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = tree.node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return (fr, sr) if sn == 0 else None


def test_published_roots() -> None:
    log = Log()
    assert log.root(0) == ROOTS[0] == tree.EMPTY_ROOT
    for size, leaf in enumerate(LEAVES, 1):
        log.append([leaf])
        assert log.root(size) == ROOTS[size]
    assert [log.root(size) for size in range(9)] == ROOTS


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: f"{case['index']} of {case['size']}")
def test_inclusion_vectors(case: dict[str, Any]) -> None:
    log, proof = Log(), hexed(case["proof"])
    log.append(LEAVES)
    assert log.inclusion(case["index"], case["size"]) == proof
    tree.verify_inclusion(
        tree.leaf_hash(LEAVES[case["index"]]), case["index"], case["size"], proof, ROOTS[case["size"]]
    )


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: f"{case['first']} to {case['second']}")
def test_consistency_vectors(case: dict[str, Any]) -> None:
    log, proof = Log(), hexed(case["proof"])
    log.append(LEAVES)
    first, second = case["first"], case["second"]
    assert log.consistency(first, second) == proof
    tree.verify_consistency(first, ROOTS[first], second, ROOTS[second], proof)


@given(st.lists(st.lists(st.binary(max_size=3), max_size=20), max_size=8))
def test_appending_in_any_portions_is_the_naive_tree(portions: list[list[bytes]]) -> None:
    log, entries = Log(), list[bytes]()
    for portion in portions:
        log.append(portion)
        entries += portion
    naive = Naive(entries)
    for size in range(len(entries) + 1):
        assert log.root(size) == naive.root(0, size)
    assert len(log.nodes) <= 2 * len(entries)


@given(st.integers(1, 200), st.data())
def test_proofs_verify_and_other_verifiers_agree(size: int, data: st.DataObject) -> None:
    log = filled(size)
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    leaf = tree.leaf_hash(str(index).encode())
    proof = log.inclusion(index, size)
    tree.verify_inclusion(leaf, index, size, proof, log.root(size))
    assert rfc_9162_inclusion(leaf, index, size, proof) == log.root(size)
    proof = log.consistency(first, size)
    tree.verify_consistency(first, log.root(first), size, log.root(size), proof)
    if 0 < first < size:
        assert rfc_9162_consistency(first, size, log.root(first), proof) == (log.root(first), log.root(size))


@given(st.integers(0, 1 << 50), st.integers(1, 1 << 50))
def test_a_proof_reads_few_rows(index: int, more: int) -> None:
    size = index + more
    bound = 2 * size.bit_length()
    assert len(list(tree.needed(tree.inclusion_ranges(index, size)))) <= bound
    assert len(list(tree.needed(tree.consistency_ranges(index, size)))) <= bound
    assert len(tree.full_ranges(0, size)) <= size.bit_length()


def test_an_entry_elsewhere_or_another_entry_is_refused() -> None:
    log = filled(13)
    for index in range(13):
        leaf, proof, root = tree.leaf_hash(str(index).encode()), log.inclusion(index, 13), log.root(13)
        for other in range(-1, 15):
            if other != index:
                with pytest.raises(LogRejected, match="inclusion"):
                    tree.verify_inclusion(leaf, other, 13, proof, root)
        with pytest.raises(LogRejected, match="another entry stands"):
            tree.verify_inclusion(tree.leaf_hash(b"forged"), index, 13, proof, root)
        with pytest.raises(LogRejected, match="another entry stands"):
            tree.verify_inclusion(leaf, index, 13, proof, log.root(12))


def test_an_inner_node_is_no_entry() -> None:
    """The two prefixes keep a node's children from posing as an entry's data."""
    log = filled(4)
    children = log.nodes[0, 0] + log.nodes[0, 1]
    with pytest.raises(LogRejected):
        tree.verify_inclusion(tree.leaf_hash(children), 0, 2, [log.nodes[1, 1]], log.root(4))


def test_proofs_of_other_lengths_are_refused() -> None:
    log = filled(11)
    root, proof = log.root(11), log.inclusion(4, 11)
    leaf = tree.leaf_hash(b"4")
    for forged in ([], proof[:-1], [*proof, bytes(32)], [*proof, proof[-1]], [bytes(32), *proof]):
        with pytest.raises(LogRejected, match="roots in the proof"):
            tree.verify_inclusion(leaf, 4, 11, forged, root)
    way = log.consistency(5, 11)
    for forged in ([], way[:-1], [*way, bytes(32)], [bytes(32), *way]):
        with pytest.raises(LogRejected, match="roots in the proof"):
            tree.verify_consistency(5, log.root(5), 11, root, forged)
    with pytest.raises(LogRejected, match="roots in the proof"):
        tree.verify_consistency(11, root, 11, root, [bytes(32)])
    with pytest.raises(LogRejected, match="roots in the proof"):
        tree.verify_consistency(0, tree.EMPTY_ROOT, 11, root, [root])


def test_roots_of_other_lengths_are_refused() -> None:
    log = filled(2)
    data = log.nodes[0, 1] + b"more"
    left = log.nodes[0, 0]
    # Without the check on lengths this is a collision: the same bytes, cut elsewhere.
    root = tree.node_hash(left, data)
    with pytest.raises(LogRejected, match="32 bytes"):
        tree.verify_inclusion(left, 0, 2, [data], root)
    with pytest.raises(LogRejected, match="32 bytes"):
        tree.verify_consistency(1, left, 2, root, [data])


def test_a_log_that_shrank_is_refused() -> None:
    log = filled(6)
    with pytest.raises(LogRejected, match="shrank"):
        tree.verify_consistency(6, log.root(6), 5, log.root(5), [])
    with pytest.raises(LogRejected, match="shrank"):
        tree.verify_consistency(-1, log.root(6), 5, log.root(5), [])
    too_large = tree.MAX_SIZE + 1
    with pytest.raises(LogRejected, match="shrank"):
        tree.verify_consistency(too_large, log.root(6), too_large, log.root(6), [])
    with pytest.raises(LogRejected, match="no entry"):
        tree.verify_inclusion(log.root(1), 0, too_large, [bytes(32)] * 63, log.root(6))


def test_two_logs_of_one_size_are_a_split_view() -> None:
    log = filled(6)
    with pytest.raises(LogRejected, match="split view"):
        tree.verify_consistency(6, log.root(6), 6, log.root(5), [])
    with pytest.raises(LogRejected, match="without entries"):
        tree.verify_consistency(0, log.root(1), 6, log.root(6), [])
    with pytest.raises(LogRejected, match="split view"):
        tree.verify_consistency(0, tree.EMPTY_ROOT, 0, log.root(1), [])


@pytest.mark.parametrize("change", ["changed", "dropped", "swapped", "inserted"])
def test_a_rewritten_log_is_never_consistent(change: str) -> None:
    """Whatever the proof is: the honest one of either log, or any mixture."""
    entries = [str(number).encode() for number in range(12)]
    other = list(entries)
    if change == "changed":
        other[3] = b"forged"
    elif change == "dropped":
        del other[3]
    elif change == "swapped":
        other[3], other[4] = other[4], other[3]
    else:
        other.insert(3, b"forged")
    before, after = Log(), Log()
    before.append(entries)
    after.append([*other, *(b"%d" % number for number in range(40, 52))])
    choices = random.Random(change)
    for first in range(5, 13):
        for second in range(first, 20):
            honest = after.consistency(first, second)
            pool = [*before.nodes.values(), *after.nodes.values(), *honest]
            for proof in (honest, [choices.choice(pool) for _ in honest]):
                with pytest.raises(LogRejected):
                    tree.verify_consistency(first, before.root(first), second, after.root(second), proof)


def test_a_proof_for_another_later_root_is_refused() -> None:
    log = filled(12)
    with pytest.raises(LogRejected, match="another log of 12"):
        tree.verify_consistency(7, log.root(7), 12, log.root(11), log.consistency(7, 12))
    with pytest.raises(LogRejected, match="others than before"):
        tree.verify_consistency(7, log.root(6), 12, log.root(12), log.consistency(7, 12))


def test_making_proofs_of_nothing_is_a_callers_mistake() -> None:
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(ValueError):
            tree.inclusion_ranges(index, size)
    with pytest.raises(ValueError):
        tree.consistency_ranges(4, 3)


def test_every_full_range_has_a_number_of_its_own() -> None:
    nodes = [(level, index) for level in range(6) for index in range(64 >> level)]
    assert len({tree.position(node) for node in nodes}) == len(nodes)
    for level, index in nodes:
        if level:
            left, right = tree.position((level - 1, 2 * index)), tree.position((level - 1, 2 * index + 1))
            assert 2 * tree.position((level, index)) == left + right
