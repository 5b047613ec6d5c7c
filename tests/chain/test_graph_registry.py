"""The registry of exact models: what it answers, in which order it takes things, and who stands in whose way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.chain import graph_world as world
from tests.chain.graph_world import (
    LIMIT,
    NAMES,
    ONE,
    REGISTRY,
    Raw,
    append,
    call,
    chain_of,
    chained,
    check_answers,
    descriptor,
    new_registry,
    open_,
    refusal,
    refused,
    send,
    shipped,
    source,
    spec,
    transact,
    worst_gas,
)
from tests.laws.random_graphs import random_graph, random_inputs
from tests.parity.onestep_world import as_arrays
from vml.backends.optimistic import refusals
from vml.backends.optimistic.step import check_list
from vml.chain import abi
from vml.chain.client import Chain
from vml.chain.embedded import EmbeddedChain
from vml.chain.graphs import register_graph, registered
from vml.chain.transactions import CODE_LIMIT
from vml.errors import ChainError
from vml.merkle import tensor_root, tensors_root, tree_depth
from vml.model import interpreter
from vml.model.graph import Graph
from vml.model.semantics import semantics_digest

FAULTS = ("none", "length", "input", "constant", "output")


@pytest.fixture(scope="module")
def chain() -> Chain:
    return chain_of(EmbeddedChain())


@pytest.fixture
def registry(chain: Chain) -> str:
    return new_registry(chain)


def test_the_contract_is_small_enough() -> None:
    assert len(world.REGISTRY.bytecode) < CODE_LIMIT


def test_what_it_is_for(chain: Chain, registry: str) -> None:
    assert call(chain, registry, "semantics") == semantics_digest()
    assert call(chain, registry, "stepGasLimit") == LIMIT


# ---- models that validate


@pytest.mark.parametrize("name", NAMES)
def test_shipped_models(chain: Chain, registry: str, name: str) -> None:
    graph = shipped(name)
    seen: list[tuple[int, int]] = []
    assert not registered(chain, registry, graph.commitment)
    assert register_graph(chain, registry, graph, progress=lambda at, of: seen.append((at, of))) == graph.commitment
    assert seen[-1] == (len(graph.nodes), len(graph.nodes))
    inputs = [np.zeros(s.shape, s.header.dtype) for s in graph.inputs]
    check_answers(chain, registry, graph, inputs)


def check_random(chain: Chain, registry: str, seed: int) -> None:
    """Cut anywhere; and lists that lead, or do not, as Python says."""
    graph, rng = random_graph(seed), np.random.default_rng(seed)
    raw = Raw.of(graph)
    depth = tree_depth(len(graph.nodes))
    assert send(chain, registry, raw, int(rng.integers(min(4, depth), depth + 1))) == graph.commitment
    codes = random_inputs(graph, seed)
    exact = interpreter.run_nodes(graph, {name: x.ravel().tolist() for name, x in codes.items()})
    values = as_arrays(graph, exact)
    check_answers(chain, registry, graph, [values[s.node] for s in graph.inputs])
    roots = [tensor_root(x) for x in values]
    ends = [tensors_root([roots[s.node] for s in specs]) for specs in (graph.inputs, graph.outputs)]
    assert fault(chain, registry, graph, roots, *ends) == ("none", 0)
    for _ in range(3):
        wrong, claimed = list(roots), list(ends)
        if rng.random() < 0.8:
            wrong[int(rng.integers(len(wrong)))] = rng.bytes(32)
        if rng.random() < 0.2:
            claimed[int(rng.integers(2))] = rng.bytes(32)
        fault(chain, registry, graph, wrong, *claimed)


def fault(
    chain: Chain, registry: str, graph: Graph, roots: list[bytes], claim_input: bytes, claim_output: bytes
) -> tuple[str, int]:
    """What is wrong with a list, by the contract and by Python alike."""
    place, node = call(chain, registry, "listFault", graph.commitment, roots, claim_input, claim_output)
    try:
        check_list(graph, claim_input, claim_output, roots)
        expected: tuple[Any, ...] = (FAULTS[0], 0)
    except refusals.ListInconsistent as error:
        where, *rest = error.details
        expected = (where, rest[0] if where == "constant" else 0)
    assert (FAULTS[place], node) == expected
    return FAULTS[place], node


@pytest.mark.parametrize("seed", range(30))
def test_random_graphs(chain: Chain, registry: str, seed: int) -> None:
    check_random(chain, registry, seed)


@pytest.mark.slow
def test_random_graphs_at_length(chain: Chain, registry: str) -> None:
    for seed in range(1_000, 1_400):
        check_random(chain, registry, seed)


@pytest.mark.parametrize("bits", range(4, 7))
def test_every_cut_gives_the_same_model(chain: Chain, bits: int) -> None:
    registry, graph = new_registry(chain), chained(53)
    assert send(chain, registry, Raw.of(graph), bits) == graph.commitment
    assert call(chain, registry, "progressOf", graph.commitment) == (53, 53, bits)
    check_answers(chain, registry, graph, [np.zeros((4, 8), "int8")])


def test_lists(chain: Chain, registry: str) -> None:
    graph = chained(13)
    send(chain, registry, Raw.of(graph))
    roots = [node.attributes.get("root", bytes([i]) * 32) for i, node in enumerate(graph.nodes)]
    ends = [tensors_root([roots[s.node] for s in specs]) for specs in (graph.inputs, graph.outputs)]
    constants = [i for i, node in enumerate(graph.nodes) if node.primitive == "constant"]
    assert fault(chain, registry, graph, roots, *ends) == ("none", 0)
    for length in (0, 12, 14):
        assert fault(chain, registry, graph, (roots * 2)[:length], *ends) == ("length", 0)
    assert fault(chain, registry, graph, roots, bytes(32), ends[1]) == ("input", 0)
    assert fault(chain, registry, graph, roots, ends[0], bytes(32)) == ("output", 0)
    for index in range(13):
        wrong = [*roots[:index], bytes([200]) * 32, *roots[index + 1 :]]
        expected = "constant" if index in constants else "input" if index == 0 else "output" if index == 12 else "none"
        assert fault(chain, registry, graph, wrong, *ends) == (expected, index if index in constants else 0)
    # Of several faults the first place counts.
    bad = [bytes([255]) * 32] * 13
    assert fault(chain, registry, graph, bad, *ends) == ("input", 0)
    assert fault(chain, registry, graph, [roots[0], *bad[1:]], *ends) == ("constant", constants[0])


def test_inputs_of_another_number_or_size(chain: Chain, registry: str) -> None:
    graph = random_graph(3)
    send(chain, registry, Raw.of(graph))
    data = [bytes(s.header.size * np.dtype(s.header.dtype).itemsize) for s in graph.inputs]
    for wrong, name in (
        (data[:1], "InputCount"),
        ([*data, b""], "InputCount"),
        ([data[0] + b"\0", data[1]], "TensorSize"),
    ):
        with pytest.raises(ChainError) as caught:
            call(chain, registry, "inputRoot", graph.commitment, wrong)
        assert caught.value.error == name


# ---- the order of things


def test_what_is_not_registered_answers_nothing(chain: Chain) -> None:
    registry, raw = new_registry(chain), Raw.of(chained(17))
    questions: dict[str, tuple[Any, ...]] = {
        "graphOf": (),
        "descriptorOf": (0,),
        "inputRoot": ([],),
        "listFault": ([], bytes(32), bytes(32)),
    }

    def all_refuse(name: str) -> None:
        for question, rest in questions.items():
            with pytest.raises(ChainError) as caught:
                call(chain, registry, question, raw.model, *rest)
            assert caught.value.error == name

    assert call(chain, registry, "progressOf", raw.model) == (0, 0, 0)
    all_refuse("GraphUnknown")
    refused("GraphUnknown", chain, registry, "append", raw.model, raw.chunk(4, 0), raw.path(4, 0))
    open_(chain, registry, raw, 4)
    assert call(chain, registry, "progressOf", raw.model) == (0, 17, 4)
    all_refuse("GraphIncomplete")
    append(chain, registry, raw, 4, 0)
    assert call(chain, registry, "progressOf", raw.model) == (16, 17, 4)
    all_refuse("GraphIncomplete")
    append(chain, registry, raw, 4, 1)
    assert call(chain, registry, "progressOf", raw.model) == (17, 17, 4)
    with pytest.raises(ChainError) as caught:
        call(chain, registry, "descriptorOf", raw.model, 17)
    assert (caught.value.error, caught.value.arguments) == ("NodeOutside", {"node": 17, "count": 17})
    refused("GraphComplete", chain, registry, "append", raw.model, raw.chunk(4, 1), raw.path(4, 1))
    open_(chain, registry, raw, 4)
    refused("GraphExists", chain, registry, "open", raw.root, 17, 5, raw.inputs, raw.outputs)


def test_events(chain: Chain) -> None:
    registry, raw = new_registry(chain), Raw.of(chained(17))

    def events(name: str, *arguments: Any) -> list[tuple[str, dict[str, Any]]]:
        return abi.decode_logs(REGISTRY.abi, transact(chain, registry, name, *arguments).logs)

    opening = raw.root, 17, 4, raw.inputs, raw.outputs
    begun = {"model": raw.model, "root": raw.root, "count": 17, "chunkBits": 4}
    assert events("open", *opening) == [("GraphOpened", begun)]
    assert events("open", *opening) == []
    first = events("append", raw.model, raw.chunk(4, 0), raw.path(4, 0))
    assert first == [("GraphAppended", {"model": raw.model, "registered": 16})]
    last = events("append", raw.model, raw.chunk(4, 1), raw.path(4, 1))
    gas = worst_gas(chained(17))
    assert last == [
        ("GraphAppended", {"model": raw.model, "registered": 17}),
        ("GraphRegistered", {"model": raw.model, "stepGas": gas}),
    ]


def test_chunks_come_in_order_whole_and_with_their_path(chain: Chain) -> None:
    registry, raw = new_registry(chain), Raw.of(chained(49))
    open_(chain, registry, raw, 4)
    chunks, paths = [raw.chunk(4, k) for k in range(4)], [raw.path(4, k) for k in range(4)]

    def wrong(name: str, descriptors: list[bytes], path: list[bytes]) -> None:
        refused(name, chain, registry, "append", raw.model, descriptors, path)

    wrong("WrongGraph", chunks[1], paths[1])
    wrong("WrongGraph", chunks[0], paths[1])
    wrong("WrongGraph", chunks[0][::-1], paths[0])
    wrong("WrongGraph", chunks[0], paths[0][::-1])
    wrong("PathLength", chunks[0], paths[0][:1])
    wrong("PathLength", chunks[0], [*paths[0], bytes(32)])
    wrong("ChunkLength", chunks[0][:3], paths[0])
    wrong("ChunkLength", chunks[0] + chunks[1], raw.path(5, 0))
    wrong("ChunkLength", [], paths[0])
    wrong("EmptyDescriptor", [b"", *chunks[0][1:]], paths[0])
    for k in range(3):
        transact(chain, registry, "append", raw.model, chunks[k], paths[k])
        wrong("WrongGraph" if k < 2 else "ChunkLength", chunks[k], paths[k])
    # The last one holds one descriptor, and padding is none.
    wrong("ChunkLength", [*chunks[3], b""], paths[3])
    transact(chain, registry, "append", raw.model, chunks[3], paths[3])
    assert registered(chain, registry, raw.model)


def test_openings_that_cannot_be(chain: Chain, registry: str) -> None:
    raw = Raw.of(chained(9))
    for count, bits, name in (
        (0, 0, "DescriptorCount"),
        ((1 << 20) + 1, 5, "DescriptorCount"),
        (9, 5, "ChunkBits"),
        (9, 255, "ChunkBits"),
        (9, 3, "ChunkBits"),
        (9, 0, "ChunkBits"),
        (1 << 20, 3, "ChunkBits"),
        (4, 1, "ChunkBits"),
        (8, 3, "NodeOutside"),
    ):
        refused(name, chain, registry, "open", raw.root, count, bits, raw.inputs, raw.outputs)


def test_nobody_stands_in_anybodys_way() -> None:
    """Another count, another cut, appended to or not: what is right goes on beside it, and everybody may help."""
    node, graph = EmbeddedChain(), chained(49)
    raw, alice, mallory, bob = Raw.of(graph), *(chain_of(node, k) for k in range(3))
    registry = new_registry(alice)
    open_(mallory, registry, raw, 6, count=50)
    open_(alice, registry, raw, 4)
    append(alice, registry, raw, 4, 0)
    for bits in (6, 5):
        open_(mallory, registry, raw, bits, count=50 if bits == 6 else 49)
    append(mallory, registry, raw, 5, 0)
    assert call(alice, registry, "progressOf", raw.model) == (16, 49, 4)
    assert call(mallory, registry, "progressOf", raw.model) == (32, 49, 5)
    # Bob opened nothing: he is shown the one that was opened last, and takes up Alice's.
    assert call(bob, registry, "progressOf", raw.model) == (32, 49, 5)
    open_(bob, registry, raw, 4)
    append(bob, registry, raw, 4, 1)
    append(alice, registry, raw, 4, 2)
    append(bob, registry, raw, 4, 3)
    for who in (alice, mallory, bob):
        assert call(who, registry, "progressOf", raw.model) == (49, 49, 4)
        with pytest.raises(ChainError) as caught:
            append(who, registry, raw, 5, 1)
        assert caught.value.error == "GraphComplete"
    check_answers(bob, registry, graph, [np.zeros((4, 8), "int8")])


# ---- models that are none


def test_another_arithmetic(chain: Chain) -> None:
    registry = new_registry(chain, semantics=bytes(range(32)))
    raw = Raw.of(chained(9))
    open_(chain, registry, raw, 4)
    # It is another model there.
    assert call(chain, registry, "progressOf", raw.model) == (0, 0, 0)
    with pytest.raises(ChainError, match="another arithmetic"):
        register_graph(chain, registry, chained(9))


def test_specifications_are_read_strictly(chain: Chain, registry: str) -> None:
    raw = Raw.of(random_graph(5))
    bits = tree_depth(len(raw.descriptors))

    def opened(inputs: bytes, outputs: bytes) -> str | None:
        try:
            transact(chain, registry, "open", raw.root, len(raw.descriptors), bits, inputs, outputs)
        except ChainError as error:
            return error.error
        return None

    assert opened(raw.inputs, raw.outputs) is None
    for side in (0, 1):
        whole = (raw.inputs, raw.outputs)[side]
        for length in range(len(whole)):
            cut = [raw.inputs, raw.outputs]
            cut[side] = whole[:length]
            assert opened(*cut) == "DescriptorEnds", length
        for more in (b"\0", bytes(32)):
            cut = [raw.inputs, raw.outputs]
            cut[side] = whole + more
            assert opened(*cut) == "DescriptorContinues"
    assert opened(bytes(4), raw.outputs) == "NoTensors"
    assert opened(raw.inputs, bytes(4)) == "NoTensors"
    assert opened(b"\xff" * 4 + raw.inputs[4:], raw.outputs) == "DescriptorEnds"
    assert opened(raw.inputs, b"\xff" * len(raw.outputs)) == "DescriptorEnds"


@pytest.mark.parametrize("inputs", [(0,), (1,), (1, 0), (0, 2), (0, 1, 2), (0, 0, 1), (0, 1, 1), (0, 1 << 31)])
def test_input_nodes_are_those_of_the_specification(chain: Chain, registry: str, inputs: tuple[int, ...]) -> None:
    pair = descriptor(20, ONE + ONE, (0, 1))
    right = Raw((source(0).encode(), source(1).encode(), pair), spec(0, 1), spec(2))
    assert refusal(chain, registry, right) is None
    error = refusal(chain, registry, replace(right, inputs=spec(*inputs)))
    assert error is not None
    assert error.error == "InputNode"
    swapped = (source(1).encode(), source(0).encode(), pair)
    error = refusal(chain, registry, replace(right, descriptors=swapped))
    assert error is not None
    assert error.error == "InputNode"
