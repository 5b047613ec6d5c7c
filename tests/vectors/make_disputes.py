"""Makes the vectors of the dispute tests in Solidity: a tiny model, its true trace, liars' traces, what refutes them.

Five operators: x, 512 numbers; ``big``, each of them doubled, in 33 equal rows of one leaf each (so a descent takes two
nodes, and the second has padding); a constant; ``sum``, of the rows; ``out``, the sums plus the constant. Every tensor
but ``big`` is one leaf; of ``big`` all leaves are the same but at most one, which is given.

Run: ``python tests/vectors/make_disputes.py``
"""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from eth_abi import encode

from vml.merkle import tensor_bytes, tensor_root, tensors_root
from vml.model.builder import Builder
from vml.model.codec import View
from vml.model.graph import Graph, TensorSpec, encode_specs
from vml.model.onestep import StepProver
from vml.model.semantics import semantics_digest

HERE = Path(__file__).parent
GENERATOR = "tests/vectors/make_disputes.py"
ORIGIN = "Model, commitments and one-step proofs by vml; the values by numpy, in the generator."
ROWS, WIDTH, MOST = 33, 512, 1000
INPUT, BIG, CONSTANT, SUM, OUT = range(5)
PROOF = "(bytes,bytes32[],(bytes,bytes32[],bytes32,(uint64,bytes,bytes32[])[])[])"
Values = list[np.ndarray]


def model() -> Graph:
    """The five operators."""
    b = Builder(name="disputed")
    x = b.input(0, (WIDTH,), -MOST, MOST, Fraction(1), "float")
    big = b.emit("affine", (ROWS, WIDTH), [x.ref], a=View(0, (0, 1)), b=View(0, ()), alpha=2, beta=0, gamma=0)
    shift = b.constant(np.array([-7], dtype=np.int8))
    total = b.emit("reduce_sum", (ROWS,), [big], reduced=(WIDTH,), x=View(0, (WIDTH, 1)))
    out = b.emit("affine", (ROWS,), [total, shift.ref], a=View(0, (1,)), b=View(0, (0,)), alpha=1, beta=1, gamma=0)
    outputs = [TensorSpec("out", "float32", out, b.nodes[out].header, Fraction(1))]
    return b.finish([TensorSpec("x", "float32", x.ref, b.header(x), Fraction(1))], outputs)[0]


def evaluate(graph: Graph, x: np.ndarray, add: dict[tuple[int, int], int]) -> Values:
    """Every operator's tensor; `add` says by how much the element (operator, place) is off. What follows is right."""
    values: Values = []
    exact: tuple[Callable[[], Any], ...] = (
        lambda: x,
        lambda: np.broadcast_to(2 * values[INPUT].astype(np.int64), (ROWS, WIDTH)),
        lambda: graph.constants[CONSTANT],
        lambda: values[BIG].astype(np.int64).sum(axis=1),
        lambda: values[SUM].astype(np.int64) + int(graph.constants[CONSTANT][0]),
    )
    for number, node in enumerate(graph.nodes):
        tensor = np.array(exact[number](), dtype=node.header.dtype, order="C").reshape(node.header.shape)
        for (operator, place), by in add.items():
            if operator == number:
                tensor.reshape(-1)[place] += by
        values.append(tensor)
    return values


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def trace(values: Values) -> dict[str, Any]:
    """What a trace's owner shows."""
    leaves = [tensor_bytes(row) for row in values[BIG]]
    common = max(set(leaves), key=leaves.count)
    odd = [k for k, leaf in enumerate(leaves) if leaf != common]
    return {
        "roots": hexed(b"".join(tensor_root(tensor) for tensor in values)),
        "input": hexed(tensor_bytes(values[INPUT])),
        "leaf": hexed(common),
        "odd": hexed((odd[0] if odd else ROWS).to_bytes(32, "big")),
        "odd_leaf": hexed(leaves[odd[0]] if odd else b""),
        "sum": hexed(tensor_bytes(values[SUM])),
        "out": hexed(tensor_bytes(values[OUT])),
        "claimed_input": hexed(tensors_root([tensor_root(values[INPUT])])),
        "claimed_output": hexed(tensors_root([tensor_root(values[OUT])])),
    }


def refuted(graph: Graph, values: Values, operator: int, element: int) -> dict[str, Any]:
    """A liar's trace, and the step that shows the first wrong element; the step reads right tensors only."""
    proof = b""
    if operator != INPUT:
        _, step = StepProver(graph, values).prove(operator, element)
        operands = [
            (o.descriptor, o.path, o.merkle_root, [(leaf.index, leaf.data, leaf.path) for leaf in o.leaves])
            for o in step.operands
        ]
        proof = encode([PROOF], [(step.descriptor, step.path, operands)])
    return {
        **trace(values),
        "operator": hexed(operator.to_bytes(32, "big")),
        "element": hexed(element.to_bytes(32, "big")),
        "proof": hexed(proof),
    }


def build() -> dict[str, dict[str, Any]]:
    """The vector file by its name."""
    graph = model()
    x = np.array([(37 * k) % (2 * MOST + 1) - MOST for k in range(WIDTH)], dtype=graph.nodes[INPUT].header.dtype)
    outside = x.copy()
    outside[500] = MOST + 1
    last = ROWS * WIDTH - 1
    truth = evaluate(graph, x, {})
    lies = {
        "output": ({(OUT, ROWS - 1): 1}, OUT, ROWS - 1),
        "last": ({(BIG, last): 1}, BIG, last),
        "first": ({(BIG, 0): -1}, BIG, 0),
        "sum": ({(SUM, 7): 1 << 8}, SUM, 7),
    }
    return {
        "disputes.json": {
            "origin": ORIGIN,
            "generator": GENERATOR,
            "semantics": hexed(semantics_digest()),
            "graph_root": hexed(graph.root),
            "model": hexed(graph.commitment),
            "input_spec": hexed(encode_specs(graph.inputs)),
            "output_spec": hexed(encode_specs(graph.outputs)),
            "descriptors": [hexed(node.encode()) for node in graph.nodes],
            "truth": trace(truth),
            "lies": [
                {"name": name, **refuted(graph, evaluate(graph, x, add), operator, element)}
                for name, (add, operator, element) in lies.items()
            ]
            + [{"name": "outside", **refuted(graph, evaluate(graph, outside, {}), INPUT, 500)}],
        }
    }


if __name__ == "__main__":
    for file, content in build().items():
        (HERE / file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
