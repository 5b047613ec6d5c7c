"""Models whose last step is dear or large: what is registered, can be proved, and a lie falls."""

from __future__ import annotations

from dataclasses import astuple
from fractions import Fraction

import numpy as np
import pytest

from tests.backends.optimistic.dispute_world import Altered, flipped
from tests.dispute.dispute_chain import BOB, MALLORY, TERMS, Forks, Plain, Site, assertion, player, signer, status
from vml.backends.optimistic.records import Status
from vml.backends.optimistic.trace import Trace
from vml.chain import artifacts
from vml.chain.client import Chain
from vml.chain.deploy_optimistic import STEP_GAS
from vml.chain.graphs import register_graph
from vml.chain.rpc import Rpc
from vml.dispute.player import Habits
from vml.model.builder import Builder
from vml.model.codec import View
from vml.model.executor import Executor
from vml.model.graph import Graph, TensorSpec
from vml.model.semantics import semantics_digest

ZERO_ADDRESS = "0x" + "00" * 20


def summed(size: int, loops: tuple[int, ...], strides: tuple[int, ...]) -> Graph:
    b = Builder(name="sum")
    x = b.input(0, (size,), -100, 100, Fraction(1), "float")
    ref = b.emit("reduce_sum", (1,), [x.ref], reduced=loops, x=View(0, (0, *strides)))
    y = TensorSpec("y", "float32", ref, b.nodes[ref].header, Fraction(1))
    graph = b.finish([TensorSpec("x", "float32", x.ref, b.header(x), Fraction(1))], [y])[0]
    graph.validate()
    return graph


def placed(graph: Graph) -> Site:
    """A game on a chain of its own, under the limit on steps that is deployed."""
    node, contract, registry = Forks(), artifacts.load("DisputeGame"), artifacts.load("GraphRegistry")
    deployer = Chain(Rpc(node, "test"), "test", signer=signer(99))
    graphs = deployer.deploy(registry.bytecode, registry.abi, [semantics_digest(), STEP_GAS])
    steps = deployer.deploy(artifacts.load("StepVerifier").bytecode)
    game = deployer.deploy(contract.bytecode, contract.abi, [graphs, steps, ZERO_ADDRESS])
    register_graph(deployer, graphs, graph)
    deployer.transact(game, contract.abi, "offerTerms", astuple(TERMS))
    return Site(node, game, graphs, graph)


@pytest.mark.parametrize(
    ("size", "loops", "strides"),
    [
        (3000, (3000, *[1] * 60), (1, *[0] * 60)),
        (1, (2,) * 11, (0,) * 11),
        (64 * 1024, (64,), (1024,)),
        (129 * 1024, (129,), (1024,)),
    ],
    ids=["loops of one step", "small loops", "64 leaves", "129 leaves, cut"],
)
def test_a_lie_falls(size: int, loops: tuple[int, ...], strides: tuple[int, ...]) -> None:
    executor, codes = Executor(summed(size, loops, strides)), {"x": np.ones(size, np.int64)}
    site, truth = placed(executor.graph), Trace(executor, codes)
    out = executor.graph.outputs[0].node
    lie = Altered(truth, codes, {out: flipped(truth.tensor(out), 0)})
    mallory = player(site, MALLORY, models=False, habits=Habits(watch=False))
    bob = player(site, BOB, models=False)
    for one in (mallory, bob):
        one.library.add(Plain(executor))
    given = sum(map(len, truth.input_bytes())) < 100_000
    key = assertion(mallory, lie, give_input=given)
    mallory.library.lies[key] = lie
    if not given:  # it is published elsewhere
        bob._contents = lambda a: truth.input_bytes()
    for _ in range(20):
        bob.round()
        mallory.round()
    bob.follower.sync()
    assert status(bob, key) is Status.SLASHED
