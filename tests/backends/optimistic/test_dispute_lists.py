"""A list of operator roots leads from the claimed input over the constants to the claimed output, or is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.laws.random_graphs import random_graph, random_inputs
from vml.backends.optimistic import refusals
from vml.backends.optimistic.step import check_list
from vml.merkle import tensor_root, tensors_root
from vml.model.executor import Executor
from vml.model.graph import Graph

Roots = list[bytes]
OTHER = b"\1" * 32


def honest() -> tuple[Graph, Roots, bytes, bytes]:
    """A graph with a constant, the roots of a run, and the commitments of its input and output."""
    for seed in range(100):
        graph = random_graph(seed)
        inner = {spec.node for spec in (*graph.inputs, *graph.outputs)}
        if any(k not in inner for k in graph.constants):
            break
    roots = [tensor_root(values) for values in Executor(graph).run_all(random_inputs(graph, 0))]
    sides = (tensors_root([roots[spec.node] for spec in specs]) for specs in (graph.inputs, graph.outputs))
    return graph, roots, *sides


def test_an_honest_list() -> None:
    graph, roots, claimed_input, claimed_output = honest()
    check_list(graph, claimed_input, claimed_output, roots)


def _constant(graph: Graph) -> int:
    ends = {spec.node for spec in (*graph.inputs, *graph.outputs)}
    return next(k for k in graph.constants if k not in ends)


LIES: dict[str, tuple[str, Callable[[Graph, Roots], Roots]]] = {
    "one too few": ("length", lambda _, roots: roots[:-1]),
    "one too many": ("length", lambda _, roots: [*roots, OTHER]),
    "a root of 31 bytes": ("length", lambda graph, roots: _with(roots, _computed(graph), bytes(31))),
    "another input": ("input", lambda graph, roots: _with(roots, graph.inputs[0].node, OTHER)),
    "another constant": ("constant", lambda graph, roots: _with(roots, _constant(graph), OTHER)),
    "another output": ("output", lambda graph, roots: _with(roots, graph.outputs[0].node, OTHER)),
}


def _with(roots: Roots, place: int, root: bytes) -> Roots:
    return [root if k == place else old for k, old in enumerate(roots)]


def _computed(graph: Graph) -> int:
    """An operator that is neither input nor output nor constant, so that nothing else looks at its root."""
    ends = {spec.node for spec in (*graph.inputs, *graph.outputs)}
    return next(k for k in range(len(graph.nodes)) if k not in graph.constants and k not in ends)


@pytest.mark.parametrize("lie", LIES)
def test_a_list_that_does_not_lead_there(lie: str) -> None:
    graph, roots, claimed_input, claimed_output = honest()
    part, alter = LIES[lie]
    with pytest.raises(refusals.ListInconsistent) as refused:
        check_list(graph, claimed_input, claimed_output, alter(graph, roots))
    assert part in str(vars(refused.value) or refused.value.args)
