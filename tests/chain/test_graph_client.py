"""Registering a model from Python: interrupted it goes on, others help or hinder, what is too dear is said."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

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
from vml.chain import abi
from vml.chain.client import Chain, address
from vml.chain.embedded import EmbeddedChain
from vml.chain.graphs import APPEND_GAS, BASE_GAS, BYTE_GAS, NODE_GAS, chunk_bits, register_graph, registered
from vml.chain.rpc import Rpc, http
from vml.errors import ChainError
from vml.merkle import tree_depth
from vml.model.graph import Graph, Node
from vml.model.onestep import MAX_TERMS, step_bound


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
    node, graph = EmbeddedChain(), chained(70)
    alice, bob = chain_of(node), chain_of(node, 1)
    registry = new_registry(alice)
    monkeypatch.setattr("vml.chain.graphs.chunk_bits", lambda graph: 3)

    def interfere(at: int, of: int) -> None:
        """Bob sends Alice's next chunks, as soon as she looks away; in the end also the last one."""
        if at in (8, 40):
            for chunk in range(at // 8, min(at // 8 + 4, 9)):
                append(bob, registry, Raw.of(graph), 3, chunk)

    open_(bob, registry, Raw.of(graph), 3)
    assert register_graph(alice, registry, graph, progress=interfere) == graph.commitment
    assert registered(bob, registry, graph.commitment)


def test_a_foreign_registration_does_not_mislead_the_client() -> None:
    node, graph = EmbeddedChain(), chained(40)
    alice, mallory = chain_of(node), chain_of(node, 1)
    registry, raw = new_registry(alice), Raw.of(graph)
    for bits in (6, 0):
        open_(mallory, registry, raw, bits, count=41 if bits else 40)
    append(mallory, registry, raw, 0, 0)
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
