"""Deploying a dispute game and a model to assert about in it: interrupted it goes on, and nothing happens twice."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.chain.chain_world import Clock, Liar, signer
from vml.backends.optimistic.profiles import PROFILES, Profile, terms_for, worst_case
from vml.chain import artifacts, deployment
from vml.chain.client import Chain, connect
from vml.chain.deploy_optimistic import SCHEME, OptimisticDeployer, encode_metadata
from vml.chain.embedded import EmbeddedChain
from vml.chain.rpc import Rpc
from vml.chain.steps import Wishes
from vml.chain.transactions import Limits
from vml.errors import ChainError
from vml.keccak import keccak256
from vml.model.builder import Builder
from vml.model.codec import View
from vml.model.graph import Graph, TensorSpec

CONTRACTS = {"registry", "router", "graphs", "steps", "escalation", "game", "adapter"}
TRANSACTIONS = 13
"""Seven creations, a graph opened and appended once, terms, a route, a model, a backend."""
LOCAL = PROFILES["local"]


@cache
def tiny(factor: int = 3) -> Graph:
    """One input, one constant, their sum and its double."""
    b = Builder(name="tiny")
    x = b.input(0, (4,), -100, 100, Fraction(1), "float")
    w = b.constant(np.array([1, -2, 3, factor], dtype=np.int8))
    shown = View(0, (1,))
    total = b.emit("affine", (4,), [x.ref, w.ref], a=shown, b=shown, alpha=1, beta=1, gamma=0)
    double = b.emit("affine", (4,), [total], a=shown, b=View(0, ()), alpha=2, beta=0, gamma=1)
    outputs = [TensorSpec("y", "float32", double, b.nodes[double].header, Fraction(1))]
    return b.finish([TensorSpec("x", "float32", x.ref, b.header(x), Fraction(1))], outputs)[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deployment.json"


def seen_through(node: Any) -> Chain:
    clock = Clock()
    rpc = Rpc(node, "a node", sleep=clock.sleep, attempts=2)
    return Chain(rpc, "test", signer=signer(), limits=Limits(timeout_s=20), clock=clock, sleep=clock.sleep)


def sent(node: Any) -> int:
    return int(node.make_request("eth_getTransactionCount", [signer().address])["result"], 16)


def test_everything_is_put_up_and_admits_the_model() -> None:
    chain, graph = connect(None), tiny()
    state = OptimisticDeployer(chain).run(graph, LOCAL)
    assert set(state.contracts) == CONTRACTS
    assert set(state.steps) == {"open", "graph", "terms", "route", "model", "backend"}
    place = {name: placed.address for name, placed in state.contracts.items()}
    game, graphs = artifacts.load("DisputeGame").abi, artifacts.load("GraphRegistry").abi
    root, count, step_gas = chain.call(place["graphs"], graphs, "graphOf", graph.commitment)
    assert (root, count) == (graph.root, 4)
    terms = terms_for(LOCAL, worst_case(graph, step_gas))
    assert state.model["terms"] == "0x" + terms.digest().hex()
    assert chain.call(place["game"], game, "termsOf", terms.digest())[0] == terms.window_s
    for name in ("graphs", "steps", "escalation"):
        assert chain.call(place["game"], game, name) == place[name].lower()
    selector = keccak256(SCHEME.encode())[:4]
    assert state.model["selector"] == "0x" + selector.hex()
    found = chain.call(place["router"], artifacts.load("VmlRouter").abi, "routes", selector)
    assert found == (place["adapter"].lower(), 1)
    key = bytes.fromhex(state.model["key"][2:])
    found = chain.call(place["registry"], artifacts.load("ModelRegistry").abi, "backend", key, selector)
    assert found == (encode_metadata([terms.digest()]), True)


def test_running_again_sends_nothing(file: Path) -> None:
    node = EmbeddedChain()
    first = OptimisticDeployer(seen_through(node), file).run(tiny(), LOCAL)
    before = file.read_bytes()
    assert sent(node) == TRANSACTIONS
    assert OptimisticDeployer(seen_through(node), file).run(tiny(), LOCAL) == first
    assert (sent(node), file.read_bytes()) == (TRANSACTIONS, before)
    assert deployment.load(file) == first


def requests_of(folder: Path) -> int:
    whole = Liar()
    OptimisticDeployer(seen_through(whole), folder / "whole.json").run(tiny(), LOCAL)
    return len(whole.requests)


def interrupted(file: Path, at: int, after: bool) -> None:
    """Lose the connection at one request; run again, over a good one; nothing happened twice."""
    node = EmbeddedChain()
    with pytest.raises(ChainError, match=r"did not answer.*run the same command again"):
        OptimisticDeployer(seen_through(Liar(node, dies_at=at, after=after)), file).run(tiny(), LOCAL)
    state = OptimisticDeployer(seen_through(node), file).run(tiny(), LOCAL)
    assert sent(node) == TRANSACTIONS
    assert set(state.contracts) == CONTRACTS


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("part", range(6))
def test_an_interrupted_deployment_goes_on(part: int, after: bool, tmp_path: Path) -> None:
    requests = requests_of(tmp_path)
    interrupted(tmp_path / "deployment.json", 1 + part * (requests - 1) // 6, after)


@pytest.mark.slow
def test_a_deployment_interrupted_at_many_requests_goes_on(tmp_path: Path) -> None:
    for at in range(1, requests_of(tmp_path) + 1, 3):
        for after in (False, True):
            interrupted(tmp_path / f"{at}-{after}.json", at, after)


def test_a_second_model_joins_the_game(tmp_path: Path) -> None:
    node = EmbeddedChain()
    first = OptimisticDeployer(seen_through(node), tmp_path / "a.json").run(tiny(), LOCAL)
    wishes = Wishes(router=first.contracts["router"].address)
    second = OptimisticDeployer(seen_through(node), tmp_path / "b.json").run(tiny(5), LOCAL, wishes)
    assert {n: p.address for n, p in second.contracts.items()} == {n: p.address for n, p in first.contracts.items()}
    # Its graph, model and backend; the terms follow from shapes, which are the same.
    assert sent(node) == TRANSACTIONS + 4
    assert second.model["key"] != first.model["key"]


def test_another_profile_has_other_terms_and_a_file_of_its_own(tmp_path: Path) -> None:
    node, file = EmbeddedChain(), tmp_path / "a.json"
    first = OptimisticDeployer(seen_through(node), file).run(tiny(), LOCAL)
    with pytest.raises(ChainError, match="is about terms"):
        OptimisticDeployer(seen_through(node), file).run(tiny(), PROFILES["fast-l2"])
    assert sent(node) == TRANSACTIONS
    wishes = Wishes(router=first.contracts["router"].address)
    state = OptimisticDeployer(seen_through(node), tmp_path / "b.json").run(tiny(), PROFILES["fast-l2"], wishes)
    assert state.model["terms"] != first.model["terms"]
    assert sent(node) == TRANSACTIONS + 2


def test_a_registration_that_somebody_began_otherwise_is_in_nobodys_way(tmp_path: Path) -> None:
    """A stranger opens the same model with another number of descriptors; the deployment goes on with its own."""
    from vml.model.graph import encode_specs

    node, graph = EmbeddedChain(), tiny()
    first = OptimisticDeployer(seen_through(node), tmp_path / "a.json").run(tiny(5), LOCAL)
    stranger = connect(None)
    stranger.rpc = Rpc(node, "the same node")
    specs = encode_specs(graph.inputs), encode_specs(graph.outputs)
    contract = artifacts.load("GraphRegistry").abi
    stranger.transact(first.contracts["graphs"].address, contract, "open", graph.root, 5, 3, *specs)
    wishes = Wishes(router=first.contracts["router"].address)
    state = OptimisticDeployer(seen_through(node), tmp_path / "b.json").run(graph, LOCAL, wishes)
    found = stranger.call(state.contracts["graphs"].address, contract, "graphOf", graph.commitment)
    assert found[:2] == (graph.root, 4)


def test_somebody_elses_verifier_behind_the_route_is_refused(tmp_path: Path) -> None:
    """One with our scheme's name over a game that is none of ours."""
    chain = seen_through(EmbeddedChain())
    registry, router = artifacts.load("ModelRegistry"), artifacts.load("VmlRouter")
    at = chain.deploy(registry.bytecode)
    at = chain.deploy(router.bytecode, router.abi, (chain.sender, chain.sender, at))
    other = artifacts.load("OptimisticVerifier")
    chain.transact(at, router.abi, "addRoute", chain.deploy(other.bytecode, other.abi, (at,)))
    with pytest.raises(ChainError, match=r"graphs at .* no reason given"):
        OptimisticDeployer(chain, tmp_path / "a.json").run(tiny(), LOCAL, Wishes(router=at))


def test_what_does_not_belong_to_an_exact_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no generated verifier"):
        OptimisticDeployer(connect(None)).run(tiny(), LOCAL, Wishes(verifier="0x" + "55" * 20))
    short: Profile = replace(LOCAL, name="short", retention_s=1)
    with pytest.raises(ValueError, match="blobs are gone"):
        OptimisticDeployer(connect(None)).run(tiny(), short)
