"""The contract foresees the cost of every step as Python does, number for number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.chain.graph_world import NAMES, chained, shipped
from tests.laws.random_graphs import COMPUTED, random_graph
from tests.parity.onestep_world import DTYPES, NONE, draw, long_node, single
from vml.model.codec import View
from vml.model.graph import Graph
from vml.model.onestep import MAX_TERMS, step_bound

SOURCES = ("input", "constant")


@pytest.fixture(scope="module")
def bounds(deploy: Callable[[str], Any]) -> Any:
    return deploy("StepBounds.sol:StepBounds")


def check(bounds: Any, graph: Graph, only: int | None = None) -> int:
    """Of every node, or of one."""
    descriptors, done = [node.encode() for node in graph.nodes], 0
    for index, node in enumerate(graph.nodes):
        if node.primitive in SOURCES or only not in (None, index):
            continue
        bound = step_bound(graph, index)
        if bound.terms > MAX_TERMS:
            with pytest.raises(Exception, match="StepTooLong"):
                bounds.call("bound", descriptors, index)
            continue
        want = (
            (bound.terms, bound.leaves, bound.calldata_bytes, bound.transaction_bytes, bound.gas),
            bound.transaction_gas,
        )
        assert bounds.call("bound", descriptors, index) == want, (index, node)
        done += 1
    return done


@pytest.mark.parametrize("name", NAMES)
def test_shipped_models(bounds: Any, name: str) -> None:
    assert check(bounds, shipped(name)) >= 5


def test_random_graphs(bounds: Any) -> None:
    assert sum(check(bounds, random_graph(seed)) for seed in range(300)) > 1_000


@pytest.mark.parametrize("primitive", COMPUTED)
def test_tensors_of_several_leaves(bounds: Any, primitive: str) -> None:
    rng = np.random.default_rng(COMPUTED.index(primitive))
    for _ in range(25):
        graph, operands = draw(rng, primitive)
        node = graph.nodes[-1]
        # It is drawn without any check: the one part of a number is not always one element long.
        if primitive != "gather" or node.header.shape or node.attributes["parts"][0].length == 1:
            assert check(bounds, graph, len(operands)) == 1


def test_a_long_graph(bounds: Any) -> None:
    assert check(bounds, chained(40)) > 10


@pytest.mark.parametrize("primitive", ["dot", "reduce_sum", "reduce_max", "argmax", "topk"])
def test_the_limit_on_terms(bounds: Any, primitive: str) -> None:
    for dtype in DTYPES:
        graph, operands = long_node(primitive, MAX_TERMS, dtype)
        assert check(bounds, graph, len(operands)) == 1
    graph, operands = long_node(primitive, MAX_TERMS + 1)
    assert check(bounds, graph, len(operands)) == 0


def walk_node(rng: np.random.Generator, x: np.ndarray) -> Graph:
    """A reduction whose loops have strides of any size and sign, equal ones, zeros, and loops of one step."""
    loops, strides, room, terms = [], [], x.size - 1, 1
    for _ in range(int(rng.integers(0, 9))):
        n = int(rng.choice([1, 2, 3, 5, 17, 200]))
        if terms * n > MAX_TERMS:
            continue
        reach = room // (n - 1) if n > 1 else room
        near = [s for s in (0, 1, 2, 37, 600, abs(strides[-1]) if strides else 0, reach) if s <= reach]
        stride = int(rng.choice(near))
        room -= stride * (n - 1)
        terms *= n
        loops.append(n)
        strides.append(-stride if rng.random() < 0.3 else stride)
    offset = -sum(min(0, s * (n - 1)) for s, n in zip(strides, loops, strict=True))
    at = View(offset, tuple(strides))
    if rng.random() < 0.5:
        return single("dot", {"contract": tuple(loops), "a": at, "b": at, "bias": NONE}, (), [x, x])
    return single("reduce_max", {"reduced": tuple(loops), "x": at}, (), [x])


def check_walks(bounds: Any, seed: int, cases: int) -> None:
    rng = np.random.default_rng(seed)
    tensors = [np.zeros(size, dtype) for size in (1, 700, 200_000) for dtype in DTYPES]
    for _ in range(cases):
        graph = walk_node(rng, tensors[int(rng.integers(len(tensors)))])
        assert check(bounds, graph) == 1


def test_walks(bounds: Any) -> None:
    check_walks(bounds, 0, 300)


@pytest.mark.slow
def test_walks_at_length(bounds: Any) -> None:
    check_walks(bounds, 1, 20_000)


@pytest.mark.slow
def test_random_graphs_at_length(bounds: Any) -> None:
    assert sum(check(bounds, random_graph(seed)) for seed in range(1_000, 4_000)) > 10_000
