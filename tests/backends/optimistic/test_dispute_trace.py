"""The trace: the same commitments lazy, eager and by hand; few tensors in memory; openings that verify."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.backends.optimistic.dispute_step import step
from tests.backends.optimistic.dispute_world import honest, shipped, tall
from tests.laws.random_graphs import random_graph, random_inputs
from vml.backends.optimistic import refusals, shapes
from vml.backends.optimistic.records import Position
from vml.backends.optimistic.trace import Trace, first_difference
from vml.errors import OutOfRange
from vml.merkle import tensor_bytes, tensor_root, tensors_root, trace_root
from vml.model.executor import Executor
from vml.model.tensor import Header


@pytest.mark.parametrize("seed", range(30))
def test_roots_and_claim_are_those_of_run_all(seed: int) -> None:
    graph = random_graph(seed)
    inputs = random_inputs(graph, seed)
    every = Executor(graph).run_all(inputs)
    trace = Trace(Executor(graph), inputs)
    roots = tuple(tensor_root(values) for values in every)
    claim = trace.claim()
    assert claim.input == tensors_root([roots[spec.node] for spec in graph.inputs])
    assert claim.output == tensors_root([roots[spec.node] for spec in graph.outputs])
    assert trace.roots == roots
    assert trace.commitment() == trace_root(roots)
    assert trace.input_bytes() == tuple(tensor_bytes(every[spec.node]) for spec in graph.inputs)
    for index, values in enumerate(every):
        assert np.array_equal(trace.tensor(index), values)


def test_publishing_hands_over_every_tensor_but_the_constants() -> None:
    executor, codes = shipped("digits-cnn")
    written: dict[int, bytes] = {}
    roots = Trace(executor, codes).publish(written.__setitem__)
    nodes = executor.graph.nodes
    assert set(written) == {i for i, node in enumerate(nodes) if node.primitive != "constant"}
    for index, data in written.items():
        assert shapes.root_of_bytes(data, nodes[index].header) == roots[index]


def test_a_streamed_run_frees_tensors_after_their_last_reader() -> None:
    executor, codes = shipped("breast-cancer-mlp")
    alive: dict[int, Any] = {}
    most = 0

    def see(index: int, values: Any) -> None:
        nonlocal most
        if executor.graph.nodes[index].primitive in ("input", "constant"):
            return
        alive[index] = weakref.ref(values)
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive.values()))

    executor.visit(codes, see)
    assert len(alive) >= 10
    assert most <= 4


def test_an_opening_verifies_only_where_it_belongs() -> None:
    trace = honest(tall())
    header, root = trace.graph.nodes[1].header, trace.roots[1]
    opening = trace.opening(1, -1, 41)
    shapes.check_opening(opening, header, root)
    assert shapes.opened_root(opening, header) == opening.root
    for changed in (
        {"leaf": 40},
        {"leaf": 42},
        {"leaf": 41 + 64},
        {"leaf": -1},
        {"data": opening.data + b"\0"},
        {"data": opening.data[:-1]},
        {"data": bytes(len(opening.data))},
        {"path": opening.path[:-1]},
        {"path": (*opening.path, bytes(32))},
        {"path": (*opening.path[:-1], bytes(31))},
        {"path": (*opening.path[:-1], bytes(32))},
        {"root": bytes(32)},
        {"root": b""},
    ):
        with pytest.raises(refusals.OpeningRejected):
            shapes.check_opening(replace(opening, **changed), header, root)
    with pytest.raises(refusals.OpeningRejected):
        shapes.check_opening(opening, trace.graph.nodes[2].header, root)


def test_openings_hold_what_the_step_reads_and_nothing_else() -> None:
    trace = honest(tall())
    assert {(o.operand, o.leaf) for o in trace.openings(step, 1, 20_999)} == {(0, 20)}
    assert {o.leaf for o in trace.openings(step, 2, 0)} == set(range(41))  # a column; leaf 41 has none of it
    assert trace.openings(step, 0, 5) == ()


def test_an_input_out_of_range_has_no_trace() -> None:
    executor, codes = tall()
    with pytest.raises(OutOfRange):
        _ = Trace(executor, {"x": codes["x"] + 100}).roots


@pytest.mark.parametrize("leaves", [1, 2, 31, 32, 33, 1024, 1025, 40_000])
def test_every_leaf_has_one_way_down(leaves: int) -> None:
    header = Header("int8", (leaves * 1024,), -128, 127)
    depth = shapes.depth(header)
    for leaf in {0, leaves // 2, leaves - 1}:
        position, seen = Position(0, depth, 0), 0
        while position.height:
            below = position.height - shapes.levels_below(position.height)
            count = 1 << shapes.levels_below(position.height)
            lower = shapes.child(position, (leaf >> below) % count)
            position, seen = lower, seen + 1
        assert position.index == leaf
        assert seen + 1 == shapes.reveals(header)
        assert not shapes.is_padding(position, header)
    if depth:
        assert shapes.is_padding(Position(0, 0, leaves), header)


def test_first_difference() -> None:
    a, b = bytes(32), b"\1" * 32
    assert first_difference((a, a, b), (a, b, a)) == 1
    assert first_difference((a, b), (a, b)) is None
