"""A contract that holds a model's bytes finds the model's identity: random graphs over every primitive."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.laws.random_graphs import random_graph
from vml.merkle import DTYPES, tensor_bytes
from vml.model.graph import encode_specs
from vml.model.semantics import semantics_digest


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1))
def test_models(commitments: Any, seed: int) -> None:
    graph = random_graph(seed)
    descriptors = [node.encode() for node in graph.nodes]
    assert commitments.call("graphRoot", descriptors) == graph.root
    specs = encode_specs(graph.inputs), encode_specs(graph.outputs)
    assert commitments.call("modelDigest", semantics_digest(), graph.root, *specs) == graph.commitment
    for index, values in graph.constants.items():
        node = graph.nodes[index]
        arguments = DTYPES[node.header.dtype], node.header.shape, tensor_bytes(values)
        assert commitments.call("tensorRoot", *arguments) == node.attributes["root"]
