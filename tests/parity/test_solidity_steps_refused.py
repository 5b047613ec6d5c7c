"""One-step proofs that lie, and descriptors that are malformed: refused by name, or read as Python reads them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.laws.random_graphs import COMPUTED
from tests.parity.onestep_world import (
    FLAT,
    NONE,
    Refused,
    Steps,
    draw,
    extremes,
    long_node,
    reader,
    recommitted,
    single,
)
from vml.merkle import tensor_root
from vml.model.codec import Part, Run, View
from vml.model.graph import Graph, Node
from vml.model.onestep import Statement, StepProof, StepProver, step_value
from vml.model.primitives import PRIMITIVES
from vml.model.tensor import Header


@pytest.fixture(scope="module")
def steps(deploy: Callable[[str], Any]) -> Steps:
    return Steps(deploy("Steps.sol:Steps"))


# ---- proofs that lie


def example(primitive: str = "dot") -> tuple[Graph, list[np.ndarray], Statement, StepProof]:
    """An honest proof about the last node of inputs x, x, x and two nodes over them."""
    rng = np.random.default_rng(5)
    x = [extremes(rng, "int16", (2000,)) for _ in range(2)]
    views = {"a": View(3, (1,)), "b": View(1990, (-1,))}
    graph = single("dot", {"contract": (), **views, "bias": NONE}, (4,), x)
    more = Node(
        primitive,
        Header("int64", (4,), -1, 1),
        (0, 1),
        {"contract": (600,), "bias": NONE} | {"a": View(3, (1, 2)), "b": View(1990, (-1, -2))},
    )
    graph = replace(graph, nodes=(*graph.nodes, more), names=(*graph.names, "more"))
    values = [*x, np.zeros(4, np.int64), np.zeros(4, np.int64)]
    statement, proof = StepProver(graph, values).prove(3, 2)
    return graph, values, statement, proof


def refusal(steps: Steps, statement: Statement, proof: StepProof) -> str:
    """The custom error's name; any other revert, or none, fails."""
    with pytest.raises(Refused) as caught:
        steps.value(statement, proof)
    return caught.value.name


def with_operand(proof: StepProof, k: int, **changes: Any) -> StepProof:
    operands = list(proof.operands)
    operands[k] = replace(operands[k], **changes)
    return replace(proof, operands=tuple(operands))


def with_leaf(proof: StepProof, k: int, place: int, **changes: Any) -> StepProof:
    leaves = list(proof.operands[k].leaves)
    leaves[place] = replace(leaves[place], **changes)
    return with_operand(proof, k, leaves=tuple(leaves))


def test_an_honest_example(steps: Steps) -> None:
    graph, values, statement, proof = example()
    assert steps.value(statement, proof) == step_value(graph, 3, 2, reader(values))
    assert [len(operand.leaves) for operand in proof.operands] == [3, 3]


LIES: dict[str, tuple[str, Callable[[Statement, StepProof], tuple[Statement, StepProof]]]] = {
    "another graph": ("WrongGraph", lambda s, p: (replace(s, graph=bytes(32)), p)),
    "another count": ("WrongGraph", lambda s, p: (replace(s, count=3, node=2), replace(p, path=p.path))),
    "a node after the last": ("NodeOutside", lambda s, p: (replace(s, node=4), p)),
    "another node's number": ("WrongGraph", lambda s, p: (replace(s, node=2), p)),
    "a shortened path": ("PathLength", lambda s, p: (s, replace(p, path=p.path[1:]))),
    "an element after the last": ("ElementIndex", lambda s, p: (replace(s, element=4), p)),
    "an operand less": ("OperandCount", lambda s, p: (s, replace(p, operands=p.operands[:1]))),
    "a root less": ("OperandCount", lambda s, p: (replace(s, operands=s.operands[:1]), p)),
    "operands exchanged": ("WrongRoot", lambda s, p: (s, replace(p, operands=p.operands[::-1]))),
    "roots exchanged": ("WrongOperand", lambda s, p: (replace(s, operands=s.operands[::-1]), p)),
    "another tree": ("WrongOperand", lambda s, p: (s, with_operand(p, 0, merkle_root=bytes(32)))),
    "another operand's header": (
        "WrongRoot",
        lambda s, p: (s, with_operand(p, 0, descriptor=p.operands[1].descriptor, path=p.operands[1].path)),
    ),
    "a header with another shape": (
        "WrongRoot",
        lambda s, p: (s, with_operand(p, 0, descriptor=p.operands[0].descriptor.replace(b"\x07\xd0", b"\x07\xd1"))),
    ),
    "no descriptor": ("EmptyDescriptor", lambda s, p: (s, with_operand(p, 0, descriptor=b""))),
    "an operand without leaves": ("PlaceOutside", lambda s, p: (s, with_operand(p, 0, leaves=()))),
    "a missing leaf": ("LeafMissing", lambda s, p: (s, with_operand(p, 0, leaves=p.operands[0].leaves[1:]))),
    "a leaf twice": ("LeafOrder", lambda s, p: (s, with_operand(p, 0, leaves=p.operands[0].leaves[:1] * 2))),
    "leaves out of order": ("LeafOrder", lambda s, p: (s, with_operand(p, 0, leaves=p.operands[0].leaves[::-1]))),
    "a changed byte": (
        "WrongRoot",
        lambda s, p: (s, with_leaf(p, 0, 1, data=bytes(1024))),
    ),
    "a changed sibling": ("WrongRoot", lambda s, p: (s, with_leaf(p, 0, 1, path=(bytes(32),) * 2))),
    "a leaf's path shortened": ("PathLength", lambda s, p: (s, with_leaf(p, 0, 1, path=()))),
    "a leaf as its neighbour": ("WrongRoot", lambda s, p: (s, with_leaf(p, 0, 2, data=p.operands[0].leaves[1].data))),
    "a leaf cut short": ("LeafBytes", lambda s, p: (s, with_leaf(p, 0, 1, data=p.operands[0].leaves[1].data[:-1]))),
    "padding as a leaf": ("LeafOutside", lambda s, p: (s, with_leaf(p, 1, 2, index=4))),
    "another leaf's number": (
        "WrongRoot",
        lambda s, p: (s, with_operand(p, 0, leaves=(replace(p.operands[0].leaves[0], index=1),))),
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused(steps: Steps, lie: str) -> None:
    _, _, statement, proof = example()
    error, change = LIES[lie]
    assert refusal(steps, *change(statement, proof)) == error


def test_another_nodes_descriptor_is_refused(steps: Steps) -> None:
    """Two nodes with the same operands: each descriptor stands at its own place only."""
    graph, values, statement, proof = example()
    other, other_proof = StepProver(graph, values).prove(2, 2)
    assert refusal(steps, statement, replace(proof, descriptor=other_proof.descriptor)) == "WrongGraph"
    assert refusal(steps, statement, other_proof) == "WrongGraph"
    assert refusal(steps, replace(other, node=3), other_proof) == "WrongGraph"


def test_a_constant_is_the_descriptors(steps: Steps) -> None:
    """A root for a constant node that is not the one in its descriptor."""
    table = np.arange(5, dtype=np.int16)
    graph, operands = draw(np.random.default_rng(3), "isqrt")
    x = operands[0]
    constant = Node("constant", Header("int16", (5,), 0, 4), (), {"root": bytes(32)})
    lookup = Node("lookup", Header("int64", (), 0, 4), (0, 1), {"x": View(0, ()), "base": 0})
    graph = replace(graph, nodes=(graph.nodes[0], constant, lookup), names=("x", "t", "y"), constants={1: table})
    assert refusal(steps, *StepProver(graph, [x, table]).prove(2, 0)) == "WrongConstant"


def test_an_input_after_the_node_is_refused(steps: Steps) -> None:
    graph, values, _, _ = example()
    nodes = list(graph.nodes)
    nodes[2] = replace(nodes[2], inputs=(0, 3))
    values[3] = values[1]
    nodes[3] = nodes[1]
    assert refusal(steps, *StepProver(replace(graph, nodes=tuple(nodes)), values).prove(2, 0)) == "NotBefore"


def test_sources_are_refused(steps: Steps) -> None:
    graph, values, statement, _ = example()
    prover = StepProver(graph, values)
    proof = StepProof(prover.descriptors[0], tuple(prover.tree.open(0)), ())
    assert refusal(steps, replace(statement, node=0, operands=()), proof) == "DescriptorKind"


# ---- malformed descriptors, committed all the same


def malformed(**changes: Any) -> bytes:
    _, _, _, proof = example()
    node = Node.decode(proof.descriptor)
    header = changes.pop("header", node.header)
    inputs = changes.pop("inputs", node.inputs)
    name = changes.pop("primitive", node.primitive)
    return Node(name, header, inputs, {**({} if name != "dot" else node.attributes), **changes}).encode()


PARTS = (Part(4, 0, ((Run(4, 0, 1),),)),)
MALFORMED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "cut": ("DescriptorEnds", lambda: malformed()[:-1]),
    "nothing but a kind": ("DescriptorEnds", lambda: b"\x10"),
    "followed by a byte": ("DescriptorContinues", lambda: malformed() + b"\0"),
    "unknown kind": ("DescriptorKind", lambda: b"\x63" + malformed()[1:]),
    "unknown dtype": ("UnknownDtype", lambda: b"\x10\x05" + malformed()[2:]),
    "rank of 33": ("DescriptorRank", lambda: b"\x10\x04\x21" + bytes(400)),
    "dimension of 0": ("DescriptorElements", lambda: malformed(header=Header("int64", (0,), 0, 0))),
    "2^41 elements": ("DescriptorElements", lambda: malformed(header=Header("int64", (1 << 41,), 0, 0))),
    "view of another rank": ("ViewRank", lambda: malformed(a=View(0, (1,)))),
    "view without an operand": ("ViewRank", lambda: malformed(bias=View(1, ()))),
    "strides without an operand": ("ViewRank", lambda: malformed(bias=View(0, (1,)))),
    "view below the operand": ("PlaceOutside", lambda: malformed(a=View(0, (0, -1)))),
    "view that begins beyond the operand": ("PlaceOutside", lambda: malformed(a=View(2000, (0, -1)))),
    "second view beyond the operand": ("PlaceOutside", lambda: malformed(b=View(1990, (0, 1)))),
    "view beyond the operand": ("PlaceOutside", lambda: malformed(a=View(1990, (0, 1)))),
    "strides near 2^63": ("PlaceOutside", lambda: malformed(a=View(0, (2**63 - 1, -(2**63))))),
    "loops beyond 2^64": (
        "TooManyTerms",
        lambda: malformed(contract=(2**64 - 1,) * 2, a=FLAT, b=FLAT),
    ),
    "shift of 8": (
        "BadShift",
        lambda: malformed(primitive="rescale", x=FLAT, shift=8, multiplier=0, multipliers=FLAT, lo=0, hi=1),
    ),
    "operands of another number": ("DescriptorKind", lambda: malformed(primitive="isqrt", x=FLAT)),
    "gather along another axis": ("GatherAxis", lambda: malformed(primitive="gather", axis=1, fill=0, parts=PARTS * 2)),
    "gather with a part less": ("GatherParts", lambda: malformed(primitive="gather", axis=0, fill=0, parts=PARTS)),
    "gather with a map more": (
        "GatherMaps",
        lambda: malformed(primitive="gather", axis=0, fill=0, parts=(Part(4, 0, PARTS[0].maps * 2),) * 2),
    ),
    "gather with short parts": (
        "GatherCover",
        lambda: malformed(primitive="gather", axis=0, fill=0, parts=(Part(1, 0, PARTS[0].maps),) * 2),
    ),
    "gather with short runs": (
        "GatherCover",
        lambda: malformed(primitive="gather", axis=0, fill=0, parts=(Part(4, 0, ((Run(1, 0, 1),),)),) * 2),
    ),
    "gather with 2^32 - 1 runs": (
        "DescriptorEnds",
        lambda: malformed(primitive="gather", axis=0, fill=0, parts=PARTS * 2).replace(
            struct.pack(">BI", 1, 1), struct.pack(">BI", 1, 2**32 - 1)
        ),
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_descriptors_are_refused(steps: Steps, case: str) -> None:
    graph, values, statement, proof = example()
    error, make = MALFORMED[case]
    descriptors = [*StepProver(graph, values).descriptors[:3], make()]
    assert refusal(steps, *recommitted(statement, proof, descriptors)) == error


@pytest.mark.parametrize("primitive", COMPUTED)
def test_every_descriptor_ends_where_it_ends(steps: Steps, primitive: str) -> None:
    for seed in range(5):
        graph, operands = draw(np.random.default_rng(seed), primitive)
        prover = StepProver(graph, operands)
        *inputs, descriptor = prover.descriptors
        proved = prover.prove(len(operands), 0)
        assert refusal(steps, *recommitted(*proved, [*inputs, descriptor + b"\0"])) == "DescriptorContinues"
        assert refusal(steps, *recommitted(*proved, [*inputs, descriptor[:-1]])) == "DescriptorEnds"


@pytest.mark.parametrize(("primitive", "field"), [("rescale", "multipliers"), ("affine", "b")])
def test_a_view_without_an_operand_is_refused(steps: Steps, primitive: str, field: str) -> None:
    rng = np.random.default_rng(0)
    graph, operands = next(drawn for drawn in iter(lambda: draw(rng, primitive), None) if len(drawn[1]) == 1)
    node = graph.nodes[1]
    for view in (View(1, ()), View(0, (1,))):
        changed = replace(node, attributes={**node.attributes, field: view}).encode()
        proved = StepProver(graph, operands).prove(1, 0)
        assert refusal(steps, *recommitted(*proved, [graph.nodes[0].encode(), changed])) == "ViewRank"


def test_a_constants_descriptor_ends_with_its_root(steps: Steps) -> None:
    x = np.arange(5, dtype=np.int16)
    graph = single("isqrt", {"x": View(0, ())}, (), [x])
    constant = Node("constant", graph.nodes[0].header, (), {"root": tensor_root(x)})
    prover = StepProver(replace(graph, nodes=(constant, graph.nodes[1]), constants={0: x}), [x])
    statement, proof = prover.prove(1, 0)
    assert steps.value(statement, proof) == 0
    longer = constant.encode() + b"\0"
    proof = with_operand(proof, 0, descriptor=longer)
    assert refusal(steps, *recommitted(statement, proof, [longer, proof.descriptor])) == "DescriptorContinues"


def test_passes_over_a_row_count_as_terms(steps: Steps) -> None:
    x = np.arange(4000, dtype=np.int16)
    graph = single("topk", {"length": 4000, "x": FLAT}, (4,), [x])
    prover = StepProver(graph, [x])
    assert steps.value(*prover.prove(1, 1)) == 3998
    assert refusal(steps, *prover.prove(1, 2)) == "TooManyTerms"


@pytest.mark.parametrize("primitive", ["argmax", "reduce_max", "reduce_sum", "topk"])
def test_malformed_rows_are_refused(steps: Steps, primitive: str) -> None:
    """Rows of nothing; and a rank beyond the row."""
    graph, operands = long_node(primitive, 3)
    statement, proof = StepProver(graph, operands).prove(1, 0)
    node, field = graph.nodes[1], "length" if "length" in graph.nodes[1].attributes else "reduced"
    empty = replace(node, attributes={**node.attributes, field: 0 if field == "length" else (0,)})
    statement, proof = recommitted(statement, proof, [graph.nodes[0].encode(), empty.encode()])
    assert refusal(steps, statement, proof) == "NoTerms"
    for view in (View(1, (1,)), View(0, (-1,)), View(3, (-1,))):
        outside = replace(node, attributes={**node.attributes, "x": view})
        proved = recommitted(statement, proof, [graph.nodes[0].encode(), outside.encode()])
        assert refusal(steps, *proved) == "PlaceOutside"
    if primitive == "topk":
        wide = replace(node, header=Header("int64", (4,), 0, 3)).encode()
        statement, proof = recommitted(statement, proof, [graph.nodes[0].encode(), wide])
        assert refusal(steps, replace(statement, element=3), proof) == "RankOutside"
        flat = replace(node, header=Header("int64", (), 0, 3)).encode()
        assert refusal(steps, *recommitted(statement, proof, [graph.nodes[0].encode(), flat])) == "RankOutside"


def check_noise(steps: Steps, seed: int) -> bool:
    """Any descriptor gives a custom error, or the value that Python reads out of it. Tells which."""
    rng = np.random.default_rng(seed)
    graph, operands = draw(rng, COMPUTED[seed % len(COMPUTED)])
    node = len(operands)
    element = int(rng.integers(graph.nodes[node].header.size))
    prover = StepProver(graph, operands)
    statement, proof = prover.prove(node, element)
    noisy = bytearray(proof.descriptor)
    for _ in range(int(rng.integers(1, 3))):
        noisy[int(rng.integers(len(noisy)))] = int(rng.choice([0, 1, 2, 255, int(rng.integers(256))]))
    statement, proof = recommitted(statement, proof, [*prover.descriptors[:-1], bytes(noisy)])
    try:
        got = steps.value(statement, proof)
    except Refused:
        return False
    decoded = Node.decode(bytes(noisy))
    assert len(decoded.inputs) == len(operands)
    # An input that the step does not read may be any node, or none.
    headers = [graph.nodes[min(ref, node)].header for ref in decoded.inputs]
    read, inputs = reader(operands), decoded.inputs
    row = PRIMITIVES[decoded.primitive]
    want = row.step(decoded.attributes, decoded.header, headers, element, lambda k, place: read(inputs[k], place))
    assert got == want, decoded
    return True


def test_noise_in_descriptors(steps: Steps) -> None:
    accepted = sum(check_noise(steps, seed) for seed in range(300))
    assert 30 < accepted < 270


@pytest.mark.slow
def test_noise_in_descriptors_at_length(steps: Steps) -> None:
    for seed in range(1000, 21_000):
        check_noise(steps, seed)
