"""Registering a model from Python: interrupted it goes on, others help or hinder, what is too dear is said."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest

from tests.chain.graph_world import (
    Raw,
    append,
    call,
    chain_of,
    chained,
    check_answers,
    descriptor,
    new_registry,
    open_,
    part,
    refusal,
    refused,
    run,
    send,
    shipped,
    source,
    spec,
    specless,
    transact,
    worst_gas,
)
from tests.parity.onestep_world import long_node
from vml.backends.optimistic.estimate import refusals
from vml.chain import abi, artifacts
from vml.chain.client import Chain, address
from vml.chain.deploy_optimistic import STEP_GAS
from vml.chain.embedded import EmbeddedChain
from vml.chain.graphs import APPEND_GAS, BASE_GAS, BYTE_GAS, NODE_GAS, chunk_bits, register_graph, registered
from vml.chain.rpc import Rpc, http
from vml.chain.transactions import ENVELOPE_BYTES
from vml.errors import ChainError
from vml.merkle import tensor_root, tensors_root, tree_depth
from vml.model.builder import Builder, Value
from vml.model.codec import View
from vml.model.graph import Graph, Node, TensorSpec, encode_specs
from vml.model.onestep import GAME_BYTES, MAX_TERMS, MAX_TRANSACTION_BYTES, step_bound
from vml.model.primitives.base import MAX_LEAVES
from vml.model.tensor import Header


@pytest.fixture(scope="module")
def chain() -> Chain:
    return chain_of(EmbeddedChain())


@pytest.fixture
def registry(chain: Chain) -> str:
    return new_registry(chain)


# ---- what is too dear


def test_the_limit_is_exact(chain: Chain) -> None:
    graph = shipped("lenet5")
    worst = worst_gas(graph)
    tight, low = new_registry(chain, worst), new_registry(chain, worst - 1)
    assert register_graph(chain, tight, graph) == graph.commitment
    node = next(i for i, n in enumerate(graph.nodes) if n.inputs and step_bound(graph, i).transaction_gas == worst)
    error = refusal(chain, low, Raw.of(graph))
    assert error is not None
    assert (error.error, error.arguments) == ("StepTooDear", {"node": node, "gas": worst, "limit": worst - 1})
    with pytest.raises(ChainError, match=rf"operator {node} \(dot, from '.*may take {worst} gas to dispute") as caught:
        register_graph(chain, low, graph)
    assert caught.value.error == "StepTooDear"
    assert call(chain, low, "progressOf", graph.commitment) == (0, len(graph.nodes), 5)


@pytest.mark.parametrize("primitive", ["dot", "reduce_sum", "reduce_max", "argmax", "topk"])
def test_long_steps(chain: Chain, registry: str, primitive: str) -> None:
    graph, operands = long_node(primitive, MAX_TERMS)
    sources = range(len(operands))
    assert refusal(chain, registry, specless(graph, sources, [len(operands)])) is None
    graph, _ = long_node(primitive, MAX_TERMS + 1)
    error = refusal(chain, registry, specless(graph, sources, [len(operands)]))
    assert error is not None
    expected = {"node": len(operands), "terms": MAX_TERMS + 1, "limit": MAX_TERMS}
    assert (error.error, error.arguments) == ("StepTooLong", expected)


# ---- the client


def test_registering_goes_on_where_it_stopped(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, registry, told = chained(70), new_registry(chain), list[tuple[int, int]]()
    monkeypatch.setattr("vml.chain.graphs.chunk_bits", lambda graph: 4)
    sent: list[str] = []

    class Interrupted(Exception):
        pass

    def stop(at: int, of: int) -> None:
        told.append((at, of))
        if at == 32:
            raise Interrupted

    with pytest.raises(Interrupted):
        register_graph(chain, registry, graph, progress=stop)
    true = chain.transact

    def counted(to: str, contract: abi.Abi, name: str, *arguments: Any, value: int = 0) -> Any:
        sent.append(name)
        return true(to, contract, name, *arguments, value=value)

    monkeypatch.setattr(chain, "transact", counted)
    register_graph(chain, registry, graph, progress=lambda at, of: told.append((at, of)))
    assert told == [(16, 70), (32, 70), (48, 70), (64, 70), (70, 70)]
    assert sent == ["append"] * 3
    register_graph(chain, registry, graph)
    assert sent == ["append"] * 3
    monkeypatch.undo()
    check_answers(chain, registry, graph, [np.zeros((4, 8), "int8")])


def test_two_register_the_same_model_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    node, graph = EmbeddedChain(), chained(141)
    alice, bob = chain_of(node), chain_of(node, 1)
    registry = new_registry(alice)
    monkeypatch.setattr("vml.chain.graphs.chunk_bits", lambda graph: 4)

    def interfere(at: int, of: int) -> None:
        """Bob sends Alice's next chunks, as soon as she looks away; in the end also the last one."""
        if at in (16, 80):
            for chunk in range(at // 16, min(at // 16 + 4, 9)):
                append(bob, registry, Raw.of(graph), 4, chunk)

    open_(bob, registry, Raw.of(graph), 4)
    assert register_graph(alice, registry, graph, progress=interfere) == graph.commitment
    assert registered(bob, registry, graph.commitment)


def test_a_foreign_registration_does_not_mislead_the_client() -> None:
    node, graph = EmbeddedChain(), chained(40)
    alice, mallory = chain_of(node), chain_of(node, 1)
    registry, raw = new_registry(alice), Raw.of(graph)
    for bits in (6, 5):
        open_(mallory, registry, raw, bits, count=41 if bits == 6 else 40)
    append(mallory, registry, raw, 5, 0)
    assert register_graph(alice, registry, graph) == graph.commitment


def test_a_real_node(anvil: str) -> None:
    """Under today's limits on gas, calldata and code."""
    rpc = Rpc(http(anvil), "anvil")
    chain = Chain(rpc, "anvil", account=address(rpc.ask("eth_accounts")[0]))
    registry, graph = new_registry(chain), chained(300)
    assert register_graph(chain, registry, graph) == graph.commitment
    assert call(chain, registry, "graphOf", graph.commitment) == (graph.root, 300, worst_gas(graph))


def test_a_refused_transaction_is_reported(chain: Chain) -> None:
    registry = new_registry(chain)
    silent = Chain(chain.rpc, "test")
    with pytest.raises(ChainError, match="nobody can sign"):
        register_graph(silent, registry, chained(9))
    with pytest.raises(ChainError, match="does not answer graphOf"):
        registered(chain, "0x" + "55" * 20, bytes(32))
    broken = replace(chained(9), outputs=())
    with pytest.raises(ValueError, match="needs an output"):
        register_graph(chain, registry, broken)


def test_chunks_fit_code_and_gas(chain: Chain, registry: str) -> None:
    """Each transaction takes less than is foreseen, which is less than the limit."""
    graph = chained(400)
    bits = chunk_bits(graph)
    raw = Raw.of(graph)
    assert 0 < bits < tree_depth(400)
    open_(chain, registry, raw, bits)
    for chunk in range(-(-400 >> bits)):
        part_of = graph.nodes[chunk << bits : (chunk + 1) << bits]
        kept = 4 + sum(9 + len(n.encode()) + 36 * (n.primitive == "constant") for n in part_of)
        receipt = transact(chain, registry, "append", raw.model, raw.chunk(bits, chunk), raw.path(bits, chunk))
        foreseen = BASE_GAS + NODE_GAS * len(part_of) + BYTE_GAS * kept
        assert 0.6 * foreseen < receipt.gas_used < foreseen < APPEND_GAS
    assert registered(chain, registry, graph.commitment)
    with pytest.raises(ChainError) as caught:
        send(chain, registry, replace(raw, outputs=spec(399)), bits + 2)
    assert caught.value.error == "DataTooLong" or "out of gas" in str(caught.value)


def test_small_chunks_are_refused_for_good(chain: Chain, registry: str) -> None:
    """One contract for each operator would make every list of roots dear, and nobody could register the model again."""
    graph = chained(40)
    raw = Raw.of(graph)
    for bits in range(4):
        refused("ChunkBits", chain, registry, "open", raw.root, 40, bits, raw.inputs, raw.outputs)
    # Where no chunk of 16 fits, the client says so.
    x = source(0, (2000,))
    runs = [run(1, place * 7 % 2000) for place in range(100)]
    wide = Node.decode(descriptor(21, struct.pack(">BqB", 0, 0, 1) + part(100, runs), (0,), shape=(100,)))
    shuffled = Graph((x, *[wide] * 20), {}, (), (), ("x", *["shuffle"] * 20))
    with pytest.raises(
        ChainError, match=r"operator 1 \(gather, .* of 2\d+ bytes, with its neighbours 3\d+: .* 16 oper"
    ):
        chunk_bits(shuffled)


# ---- what nodes would not pass on


def apart(terms: int) -> Graph:
    """One sum over so many leaves."""
    b = Builder(name="apart")
    x = b.input(0, (terms * 1024,), -100, 100, 1, "float")  # type: ignore[arg-type]
    with mock.patch("vml.model.partial.MAX_LEAVES", 1 << 60):
        ref = b.emit("reduce_sum", (), [x.ref], reduced=(terms,), x=View(0, (1024,)))
    y = Value(ref, (), View(0, ()))
    given = [TensorSpec("x", "float32", x.ref, b.header(x), Fraction(1))]
    return b.finish(given, [TensorSpec("y", "float32", ref, b.header(y), Fraction(1))])[0]


def test_proofs_that_no_node_passes_on(chain: Chain) -> None:
    registry = new_registry(chain, STEP_GAS)
    for terms in (49, MAX_LEAVES, 80):
        assert step_bound(apart(terms), 1).transaction_bytes <= MAX_TRANSACTION_BYTES
        assert refusal(chain, registry, Raw.of(apart(terms))) is None
    for terms in (81, 129, 160):
        graph = apart(terms)
        bound = step_bound(graph, 1)
        assert bound.transaction_gas < STEP_GAS
        assert bound.transaction_bytes > MAX_TRANSACTION_BYTES
        error = refusal(chain, registry, Raw.of(graph))
        assert error is not None
        expected = {"node": 1, "bytes_": bound.transaction_bytes, "limit": MAX_TRANSACTION_BYTES}
        assert (error.error, error.arguments) == ("StepTooLarge", expected)
        with pytest.raises(
            ChainError, match=rf"operator 1 \(reduce_sum.*reads up to {terms} leaves.*transpose"
        ) as caught:
            register_graph(chain, registry, graph)
        assert caught.value.error == "StepTooLarge"
        (reason,) = refusals(graph)
        assert "reduce_sum" in reason
        assert "transpose" in reason


def test_what_the_game_adds_is_within_its_allowance() -> None:
    """Moves with the longest paths there are, without the proof that they carry."""
    depth, zero, contract = 20, bytes(32), artifacts.load("DisputeGame").abi
    assertion = ((zero, zero, zero, zero), "0x" + "00" * 20, zero, zero, 0)
    path = [zero] * depth
    for operands in (1, 3, 255):
        roots = [(zero, path)] * operands
        room = GAME_BYTES + (4 + depth) * 32 * operands
        step = assertion, zero, (0, 0, 0), bytes(1024), 0, roots, b""
        fraud = 0, (zero, path), 0, bytes(1024), [zero] * 30, 0, roots, b""
        for name, arguments in (("proveStep", step), ("proveFraud", (assertion, fraud))):
            assert len(abi.encode_call(contract, name, arguments)) + ENVELOPE_BYTES < room


def test_more_inputs_than_a_contract_can_keep(chain: Chain, registry: str) -> None:
    """Refused when the model is opened, not when all of it is there."""
    for rank in (0, 1, 4):
        shape = (2,) * rank
        fits = (24_575 - 64) // (64 + (24 + 8 * rank + 31) // 32 * 32)
        for count in (fits, fits + 1):
            header = Header("int8", shape, -5, 5)
            nodes = [Node("input", header, (), {"index": k}) for k in range(count)]
            given = [TensorSpec(f"x{k}", "float32", k, header, Fraction(1)) for k in range(count)]
            graph = Graph(tuple(nodes), {}, tuple(given), tuple(given[:1]), ("x",) * count)
            raw = Raw.of(graph)
            if count == fits:
                open_(chain, registry, raw, tree_depth(count))
                continue
            refused("DataTooLong", chain, registry, "open", raw.root, count, 8, raw.inputs, raw.outputs)
            with pytest.raises(ChainError, match=f"{count} inputs take .* put several into one tensor"):
                register_graph(chain, registry, graph)


def test_as_many_inputs_as_fit_are_kept(chain: Chain) -> None:
    registry, count = new_registry(chain), 255
    assert 64 + 96 * count <= 24_575 < 64 + 96 * (count + 1)
    nodes = [source(k, ()).encode() for k in range(count)]
    raw = Raw(tuple(nodes), scalars(range(count)), scalars([0]))
    send(chain, registry, raw, 7)
    want = tensors_root([tensor_root(np.zeros((), "int16"))] * count)
    assert call(chain, registry, "inputRoot", raw.model, [bytes(2)] * count) == want


def scalars(nodes: Iterable[int]) -> bytes:
    header = Header("int16", (), -5, 5)
    return encode_specs(tuple(TensorSpec("", "float32", node, header, Fraction(1)) for node in nodes))


def test_a_descriptor_that_no_contract_can_keep(chain: Chain, registry: str) -> None:
    x = source(0, (2000,)).encode()
    runs = [run(1, place * 7 % 2000) for place in range(1_100)]
    long = descriptor(21, struct.pack(">BqB", 0, 0, 1) + part(1_100, runs), (0,), shape=(1_100,))
    raw = Raw((x, long), spec(0), spec(1))
    error = refusal(chain, registry, raw)
    assert error is not None
    assert error.error == "DataTooLong"
    graph = Graph((Node.decode(x), Node.decode(long)), {}, (), (), ("x", "shuffle"))
    with pytest.raises(ChainError, match=r"operator 1 \(gather, from 'shuffle'\) has a descriptor of 26"):
        chunk_bits(graph)
