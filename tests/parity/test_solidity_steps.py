"""Solidity = Python, for one element of every primitive: vectors, random graphs, extremes, long rows, cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.laws.random_graphs import COMPUTED, random_graph, random_inputs
from tests.parity.onestep_world import NONE, Refused, Steps, as_arrays, draw, extremes, long_node, reader, single
from vml.model import compile_model, interpreter
from vml.model.codec import View, fields_from_json
from vml.model.graph import Graph, Node, TensorSpec
from vml.model.onestep import MAX_TERMS, StepProver, step_bound, step_value
from vml.model.primitives import PRIMITIVES
from vml.model.tensor import Header

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "descriptors.json").read_text())
SOURCES = ("input", "constant")


@pytest.fixture(scope="module")
def steps(deploy: Callable[[str], Any]) -> Steps:
    return Steps(deploy("Steps.sol:Steps"))


def check(steps: Steps, prover: StepProver, node: int, element: int) -> int:
    """Both give one value, within the foreseen cost."""
    row = prover.graph.nodes[node]
    want = step_value(prover.graph, node, element, reader([prover.values[ref] for ref in row.inputs]))
    statement, proof = prover.prove(node, element)
    assert steps.value(statement, proof) == want, (row, element)
    bound = step_bound(prover.graph, node)
    assert sum(len(operand.leaves) for operand in proof.operands) <= bound.leaves
    assert steps.calldata_bytes <= bound.calldata_bytes, (row, element)
    assert steps.gas <= bound.gas, (row, element)
    assert steps.transaction_gas <= bound.transaction_gas
    return want


# ---- right values


def test_vectors(steps: Steps) -> None:
    nodes = []
    for vector in VECTORS["nodes"]:
        header, row = vector["header"], PRIMITIVES[vector["primitive"]]
        attributes = fields_from_json(row.fields, vector["attributes"])
        shape = Header(header["dtype"], tuple(header["shape"]), header["lo"], header["hi"])
        nodes.append(Node(row.name, shape, tuple(vector["inputs"]), attributes))
    constants = {
        int(i): np.array(values, dtype=nodes[int(i)].header.dtype).reshape(nodes[int(i)].header.shape)
        for i, values in VECTORS["constants"].items()
    }
    specs = tuple(
        TensorSpec(name, "float32", spec["node"], nodes[spec["node"]].header, Fraction(spec["scale"]))
        for name, spec in VECTORS["inputs"].items()
    )
    graph = Graph(tuple(nodes), constants, specs, (), tuple(node.primitive for node in nodes))
    lo, hi = nodes[0].header.lo, nodes[0].header.hi
    for x in ([lo, hi, 0, 1], [0, 0, 0, 0], [-1, 7, 7, -2]):
        exact = interpreter.run_nodes(graph, {specs[0].name: x})
        prover = StepProver(graph, as_arrays(graph, exact))
        for index, node in enumerate(nodes):
            if node.primitive not in SOURCES:
                for element in range(node.header.size):
                    assert check(steps, prover, index, element) == exact[index][element]


def check_graph(steps: Steps, seed: int, elements: int) -> int:
    """A few elements of every node, in an honest evaluation and in one where every tensor holds anything."""
    graph, rng = random_graph(seed), np.random.default_rng(seed)
    flat = {name: codes.ravel().tolist() for name, codes in random_inputs(graph, seed).items()}
    exact = interpreter.run_nodes(graph, flat)
    honest = StepProver(graph, as_arrays(graph, exact))
    wild = StepProver(
        graph,
        [
            graph.constants[i] if i in graph.constants else extremes(rng, node.header.dtype, node.header.shape)
            for i, node in enumerate(graph.nodes)
        ],
    )
    done = 0
    for index, node in enumerate(graph.nodes):
        if node.primitive in SOURCES:
            continue
        for element in rng.choice(node.header.size, min(elements, node.header.size), replace=False).tolist():
            assert check(steps, honest, index, element) == exact[index][element]
            check(steps, wild, index, element)
            done += 2
    return done


def test_random_graphs(steps: Steps) -> None:
    assert sum(check_graph(steps, seed, 2) for seed in range(12)) > 100


@pytest.mark.parametrize("primitive", COMPUTED)
def test_any_elements(steps: Steps, primitive: str) -> None:
    rng = np.random.default_rng(COMPUTED.index(primitive))
    for _ in range(25):
        check_drawn(steps, rng, primitive)


def check_drawn(steps: Steps, rng: np.random.Generator, primitive: str) -> None:
    graph, operands = draw(rng, primitive)
    node = len(operands)
    check(steps, StepProver(graph, operands), node, int(rng.integers(graph.nodes[node].header.size)))


@pytest.mark.slow
@pytest.mark.parametrize("primitive", COMPUTED)
def test_any_elements_at_length(steps: Steps, primitive: str) -> None:
    """5,000 of each of sixteen."""
    rng = np.random.default_rng(1000 + COMPUTED.index(primitive))
    for _ in range(5_000):
        check_drawn(steps, rng, primitive)


@pytest.mark.slow
def test_random_graphs_at_length(steps: Steps) -> None:
    """With the test above, more than 100,000 steps."""
    assert sum(check_graph(steps, seed, 4) for seed in range(1000, 2000)) > 20_000


# ---- long reductions


@pytest.mark.parametrize("primitive", ["dot", "reduce_sum", "reduce_max", "argmax", "topk"])
def test_the_limit_on_terms(steps: Steps, primitive: str) -> None:
    graph, operands = long_node(primitive, MAX_TERMS)
    check(steps, StepProver(graph, operands), len(operands), 0)
    graph, operands = long_node(primitive, MAX_TERMS + 1)
    with pytest.raises(Refused, match="TooManyTerms"):
        steps.value(*StepProver(graph, operands).prove(len(operands), 0))


def test_a_convolution_of_3_by_3_by_512_fits(steps: Steps) -> None:
    """Channels last, int16: one element under 1.5 million gas with its calldata, at either price of it."""
    rng = np.random.default_rng(0)
    x, w = extremes(rng, "int16", (5, 5, 512)), extremes(rng, "int16", (2, 3, 3, 512))
    a, b = View(0, (2560, 512, 0, 2560, 512, 1)), View(0, (0, 0, 4608, 1536, 512, 1))
    graph = single("dot", {"contract": (3, 3, 512), "a": a, "b": b, "bias": NONE}, (3, 3, 2), [x, w])
    check(steps, StepProver(graph, [x, w]), 2, 17)
    assert max(steps.transaction_gas, 21_000 + 40 * steps.calldata_bytes) < 1_500_000


def test_every_step_of_lenet_fits(steps: Steps) -> None:
    """Some elements of every node, and the bound of every node under 1.5 million gas in one transaction."""
    circuit = Path(__file__).parents[2] / "circuits" / "lenet5"
    rows = dict(np.load(circuit / "calibration.npz"))
    model = compile_model(str(circuit / "model.onnx"), calibration={name: x[:32] for name, x in rows.items()})
    values = model.executor.run_all(model.quantize({name: x[:1] for name, x in rows.items()}))
    prover = StepProver(model.graph, values)
    for index, node in enumerate(model.graph.nodes):
        if node.primitive not in SOURCES:
            assert step_bound(model.graph, index).transaction_gas < 1_500_000
            for element in {0, node.header.size // 2, node.header.size - 1}:
                assert check(steps, prover, index, element) == int(values[index].reshape(-1)[element])


@pytest.mark.parametrize("stride", [600, -600])
def test_scattered_terms(steps: Steps, stride: int) -> None:
    """Every term in a leaf of its own, in one row and in many."""
    x = extremes(np.random.default_rng(1), "int16", (600 * 40,))
    view = View(0 if stride > 0 else 599 * 39 + 39, (stride,))
    for loops, strides in (((40,), (stride,)), ((40, 1), (stride, 1)), ((8, 5), (5 * stride, stride))):
        at = View(view.offset, strides)
        for name, attributes in (
            ("dot", {"contract": loops, "a": at, "b": at, "bias": NONE}),
            ("reduce_sum", {"reduced": loops, "x": at}),
        ):
            operands = [x, x] if name == "dot" else [x]
            check(steps, StepProver(single(name, attributes, (), operands), operands), len(operands), 0)
