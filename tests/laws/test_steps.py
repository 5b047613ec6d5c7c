"""Laws of one-step proofs on any graph: an element on its own is the interpreter's, and costs no more than foreseen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.laws.random_graphs import random_graph, random_inputs
from vml.merkle import ITEM_BYTES, LEAF_BYTES, tensor_leaf_count
from vml.model import interpreter
from vml.model.codec import View
from vml.model.graph import Graph
from vml.model.onestep import StepProver, step_bound, step_reads, step_value, walk_leaves, walk_pieces
from vml.model.primitives import PRIMITIVES
from vml.model.primitives.base import Read, Walk, position
from vml.model.tensor import Header, offsets, row_major

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SOURCES = ("input", "constant")


def evaluated(seed: int) -> tuple[Graph, list[list[int]]]:
    graph = random_graph(seed)
    inputs = {name: codes.ravel().tolist() for name, codes in random_inputs(graph, seed).items()}
    return graph, interpreter.run_nodes(graph, inputs)


def reader(operands: Sequence[Mapping[int, int] | Sequence[int]]) -> Read:
    return lambda operand, place: operands[operand][place]


def check_steps(seed: int) -> None:
    graph, values = evaluated(seed)
    for index, node in enumerate(graph.nodes):
        if node.primitive in SOURCES:
            continue
        operands = [values[ref] for ref in node.inputs]
        bound = step_bound(graph, index)
        for element in range(node.header.size):
            reads = step_reads(graph, index, element, reader(operands))
            only = [{place: flat[place] for place in places} for flat, places in zip(operands, reads, strict=True)]
            assert step_value(graph, index, element, reader(only)) == values[index][element]
            assert sum(map(len, reads)) <= bound.terms * len(reads) + len(reads)
            assert sum(bool(places) for places in reads) <= bound.leaves


@FEW
@given(SEEDS)
def test_every_element_alone_is_the_interpreters(seed: int) -> None:
    check_steps(seed)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SEEDS)
def test_every_element_alone_is_the_interpreters_at_length(seed: int) -> None:
    check_steps(seed)


@settings(max_examples=300, deadline=None)
@given(
    loops=st.lists(st.integers(1, 9), max_size=4).map(tuple),
    strides=st.lists(st.integers(-700, 700), min_size=4, max_size=4),
    dtype=st.sampled_from(sorted(ITEM_BYTES)),
    slack=st.integers(0, 2000),
    offset=st.integers(0, 2000),
)
def test_no_walk_touches_more_leaves_than_foreseen(
    loops: tuple[int, ...], strides: list[int], dtype: str, slack: int, offset: int
) -> None:
    view = View(0, tuple(strides[: len(loops)]))
    places = np.fromiter(offsets(view, loops), dtype=np.int64)
    places += offset - places.min()
    header = Header(dtype, (int(places.max()) + 1 + slack,), 0, 0)
    walk, items = Walk(0, loops, view.strides), LEAF_BYTES // ITEM_BYTES[dtype]
    leaves = places // items
    assert len(set(leaves.tolist())) <= walk_leaves(walk, header) <= tensor_leaf_count(dtype, header.shape)
    rows, outer, pieces = walk_pieces(walk, header)
    moving = [n for n in loops if n != 1]
    by_row = leaves.reshape(-1, moving[-1] if moving else 1)
    assert len(by_row) == rows
    assert outer == sum(math.prod(moving[:k]) for k in range(len(moving) - 1))
    assert rows + int((by_row[:, 1:] != by_row[:, :-1]).sum()) <= pieces


def test_positions_are_row_major() -> None:
    shape = (2, 3, 4)
    for element in range(24):
        assert sum(s * i for s, i in zip(row_major(shape), position(shape, element), strict=True)) == element
    with pytest.raises(ValueError, match="element 24"):
        position(shape, 24)


def test_sources_have_no_step() -> None:
    graph, _ = evaluated(1)
    source = next(i for i, node in enumerate(graph.nodes) if node.primitive in SOURCES)
    with pytest.raises(ValueError, match="no step"):
        step_bound(graph, source)
    with pytest.raises(ValueError, match="no computation"):
        step_value(graph, source, 0, lambda _, __: 0)


@pytest.mark.parametrize("size", [1, 3])
def test_steps_are_defined_beyond_the_ranges(size: int) -> None:
    """An asserted tensor may hold anything of its type."""
    lookup, header = PRIMITIVES["lookup"], Header("int64", (), 0, 0)
    operands = [Header("int64", (), 0, 0), Header("int8", (size,), 0, 0)]
    view = {"x": View(0, ()), "base": 5}
    for x, row in ((-(2**63), 0), (5, 0), (2**63 - 1, size - 1)):
        table = [100 + i for i in range(size)]
        assert lookup.step(view, header, operands, 0, reader([[x], table])) == 100 + row


def test_a_gather_opens_only_the_part_it_reads() -> None:
    for seed in range(40):
        graph, values = evaluated(seed)
        arrays = [np.array(v, n.header.dtype).reshape(n.header.shape) for v, n in zip(values, graph.nodes, strict=True)]
        for index, node in enumerate(graph.nodes):
            if node.primitive == "gather" and len(node.inputs) > 1:
                _, proof = StepProver(graph, arrays).prove(index, 0)
                assert sum(bool(operand.leaves) for operand in proof.operands) <= 1
                assert proof.descriptor == node.encode()
                return
    raise AssertionError("no gather of several inputs was drawn")
