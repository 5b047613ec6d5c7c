"""Laws of any integer graph: it validates, encodes and decodes, and both executors give the same integers."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.laws.random_graphs import COMPUTED, random_graph, random_inputs
from vml.model import interpreter
from vml.model.executor import Executor
from vml.model.graph import Node

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check_graph(seed: int) -> None:
    graph = random_graph(seed)
    graph.validate()
    for node in graph.nodes:
        assert Node.decode(node.encode()) == Node(node.primitive, node.header, node.inputs, dict(node.attributes))
    inputs = random_inputs(graph, seed)
    flat = {name: codes.ravel().tolist() for name, codes in inputs.items()}
    exact = interpreter.run_nodes(graph, flat)  # also checks every value against its static range
    executor = Executor(graph)
    for node, want, got in zip(graph.nodes, exact, executor.run_all(inputs), strict=True):
        assert got.dtype.name == node.header.dtype
        assert got.shape == node.header.shape
        assert got.ravel().tolist() == want, node
    for spec in graph.outputs:
        assert executor.run(inputs)[spec.name].ravel().tolist() == exact[spec.node]


@FEW
@given(SEEDS)
def test_executor_agrees_with_interpreter(seed: int) -> None:
    check_graph(seed)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SEEDS)
def test_executor_agrees_with_interpreter_at_length(seed: int) -> None:
    check_graph(seed)


def test_random_graphs_reach_every_primitive() -> None:
    seen = Counter(node.primitive for seed in range(150) for node in random_graph(seed).nodes)
    assert set(COMPUTED) <= set(seen), f"never drawn: {set(COMPUTED) - set(seen)}"


@FEW
@given(SEEDS, st.data())
def test_a_changed_node_is_not_believed(seed: int, data: st.DataObject) -> None:
    """A loader derives headers again: a graph with a narrowed range does not validate."""
    import dataclasses

    graph = random_graph(seed)
    index = data.draw(st.sampled_from([i for i, n in enumerate(graph.nodes) if n.primitive != "input"]))
    header = graph.nodes[index].header
    forged = dataclasses.replace(graph.nodes[index], header=dataclasses.replace(header, hi=header.hi - 1))
    nodes = (*graph.nodes[:index], forged, *graph.nodes[index + 1 :])
    with pytest.raises(ValueError):
        dataclasses.replace(graph, nodes=nodes).validate()


@FEW
@given(st.binary(max_size=300))
def test_decoding_noise_raises_only_value_error(data: bytes) -> None:
    try:
        node = Node.decode(data)
    except ValueError:
        return
    assert node.encode() == data
