"""Gas of asserting and disputing on a real node: anvil under Osaka's rules, the dispute game's own contracts.

Run: ``python -m benchmarks.dispute_gas [MODEL...] [--every]`` (make contracts first)
For each model: what registering, an assertion with and without its input, and settling cost; then disputes, each about
a lie in one operator, played to the slash by the strategy that the players' software uses. ``--every`` lies in every
operator in turn, otherwise in one of each primitive, the one with the dearest step and the one with the deepest tree.
MODEL may also be a network of `benchmarks.dispute_process`: ``transformer`` is the one of 124 million weights. With a
published trace the same lie is proved in one transaction. Each figure is the gas of whole transactions, intrinsic gas
and calldata included. Inputs are calibration rows, so the gas of publishing them is theirs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np

import vml
from benchmarks.dispute_process import load
from benchmarks.disputes import Liar, middle_operators
from benchmarks.gas import ROOT, Node, anvil
from benchmarks.machine import publish
from benchmarks.networks import CIRCUITS
from vml.backends.optimistic import moves, shapes
from vml.backends.optimistic.game import Rules, play
from vml.backends.optimistic.profiles import PROFILES, terms_for, worst_case
from vml.backends.optimistic.records import Call, State, Status, Terms, dispute_id
from vml.backends.optimistic.strategy import Difference, asserter_moves, challenger_move, fraud
from vml.backends.optimistic.trace import Trace
from vml.chain.graphs import chunk_bits
from vml.dispute import calls
from vml.dispute.ledger import Ledger
from vml.merkle import graph_tree
from vml.model.executor import Executor
from vml.model.graph import Graph, encode_specs
from vml.model.onestep import step_bound, step_value
from vml.model.semantics import semantics_digest

MODELS = ("breast-cancer-mlp", "digits-mlp", "digits-cnn", "digits-transformer", "lenet5")
LARGE = "transformer"
STEP_GAS_LIMIT = 14_000_000
SOURCES = ("constant", "input")
TARGETS = {"assertion": 120_000, "dispute": 3_000_000, "fraud": 1_500_000, "asserter_moves": 6}


class Table:
    """One model's game on a node, mirrored in Python for the strategy.

    Args:
        node: two of its accounts play.
        graph: the model's.
    """

    def __init__(self, node: Node, graph: Graph) -> None:
        self.node, self.graph = node, graph
        self.asserter, self.challenger = (bytes.fromhex(a[2:]) for a in node.ask("eth_accounts")[:2])
        self.step_gas = max(step_bound(graph, i).transaction_gas for i in computed(graph))
        registry = node.create("GraphRegistry", semantics_digest(), STEP_GAS_LIMIT)
        self.register_gas = register(node, registry, graph)
        self.game = node.create("DisputeGame", registry, node.create("StepVerifier"), "0x" + "00" * 20)
        profile = replace(PROFILES["fast-l2"], gas_price=1)
        self.terms: Terms = terms_for(profile, worst_case(graph, self.step_gas))
        node.call("DisputeGame", self.game, "offerTerms", astuple(self.terms))
        chain_id = int(node.ask("eth_chainId"), 16)
        contract = bytes.fromhex(self.game[2:])
        offered = {self.terms.digest(): self.terms}
        self.rules = Rules(chain_id, contract, {graph.commitment: graph}, offered, step_value)
        self.state = State()
        self.nonces: dict[bytes, int] = {}
        self.dearest: dict[str, int] = {}

    def do(self, sender: bytes, move: moves.Move) -> int:
        """One move on the chain and in the state; its gas."""
        ledger = Ledger(self.rules.chain_id, self.rules.contract, self.state, dict(self.rules.terms), self.nonces)
        made = calls.call(ledger, move, self.graph, sender)
        receipt = self.node.send(made.data(), self.game, "0x" + sender.hex(), made.value)
        if isinstance(move, moves.Assert):
            self.nonces[move.id(self.rules.chain_id, self.rules.contract, sender)] = move.nonce
        self.state = play(self.rules, self.state, Call(sender, self.now(), made.value), move).state
        gas = int(receipt["gasUsed"], 16)
        self.dearest[made.name] = max(gas, self.dearest.get(made.name, 0))
        return gas

    def now(self) -> int:
        return int(self.node.ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def make(self, trace: Trace, nonce: int, *, data: bool, eager: bool = False) -> tuple[bytes, int]:
        """An assertion's name, and its gas."""
        published = trace.commitment() if eager else None
        move = moves.Assert(trace.claim(), self.terms.digest(), nonce, published, trace.input_bytes() if data else None)
        gas = self.do(self.asserter, move)
        return move.id(self.rules.chain_id, self.rules.contract, self.asserter), gas

    def fight(self, liar: Liar, honest: Trace, nonce: int) -> dict[str, Any]:
        """One dispute to the slash: moves and gas of both sides, the assertion included."""
        key, gas = self.make(liar, nonce, data=True)
        spent = {"asserter": gas, "challenger": self.do(self.challenger, moves.Challenge(key, bytes(32)))}
        dispute, count, last = dispute_id(key, self.challenger, bytes(32)), 0, 0
        complaint = Difference(honest, step_value)
        while self.state.assertions[key].status is Status.OPEN:
            for move in list(asserter_moves(self.state, key, liar, self.now())):
                spent["asserter"] += self.do(self.asserter, move)
                count += 1
            answer = challenger_move(self.state, dispute, complaint, self.now())
            if answer is None:
                raise RuntimeError("the challenger has nothing to say")
            last = self.do(self.challenger, answer)
            spent["challenger"] += last
        if self.state.assertions[key].status is not Status.SLASHED:
            raise RuntimeError("a lie was not slashed")
        return {**spent, "all": sum(spent.values()), "asserter_moves": count, "step": last}

    def fraud(self, liar: Liar, honest: Trace, nonce: int) -> int:
        """Gas of the one transaction against a published trace."""
        key, _ = self.make(liar, nonce, data=True, eager=True)
        move = fraud(self.state.assertions[key], liar, honest, step_value)
        if move is None:
            raise RuntimeError("the published trace shows no lie")
        return self.do(self.challenger, move)

    def settle(self, honest: Trace, nonce: int) -> dict[str, int]:
        """The happy path: gas of an assertion with its input, of one without, and of settling."""
        key, carried = self.make(honest, nonce, data=True)
        bare = self.make(honest, nonce + 1, data=False)[1]
        self.node.ask("evm_increaseTime", hex(self.terms.window_s + 1))
        self.node.ask("evm_mine")
        return {
            "assertion": carried,
            "assertion_without_input": bare,
            "settle": self.do(self.asserter, moves.Settle(key)),
        }


def computed(graph: Graph) -> Iterator[int]:
    return (i for i, node in enumerate(graph.nodes) if node.primitive not in SOURCES)


def register(node: Node, registry: str, graph: Graph) -> int:
    """Gas of registering a graph."""
    descriptors = [row.encode() for row in graph.nodes]
    tree, bits = graph_tree(descriptors), chunk_bits(graph)
    specs = encode_specs(graph.inputs), encode_specs(graph.outputs)
    gas = node.call("GraphRegistry", registry, "open", graph.root, len(descriptors), bits, *specs)
    for first in range(0, len(descriptors), 1 << bits):
        chunk, path = descriptors[first : first + (1 << bits)], tree.open(first)[bits:]
        gas += node.call("GraphRegistry", registry, "append", graph.commitment, chunk, path)
    return gas


def shipped(name: str) -> tuple[Executor, dict[str, Any]]:
    """A shipped model's executor, and the codes of one calibration row."""
    folder = CIRCUITS / name
    with np.load(folder / "calibration.npz") as rows:
        calibration = {key: rows[key] for key in rows.files}
    model = vml.compile(folder / "model.onnx", calibration=calibration)
    return model.executor, dict(model.quantize({key: values[:1] for key, values in calibration.items()}))


def network(name: str) -> tuple[Executor, dict[str, Any]]:
    """The same of one of the benchmarks' networks, compiled in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="vml-bench-") as scratch:
        command = [sys.executable, "-m", "benchmarks.dispute_process", "compile", name, scratch]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        executor, codes, _ = load(Path(scratch))
    return executor, codes


def chosen_operators(graph: Graph, every: bool) -> list[int]:
    """All computed operators; or one of each primitive, the dearest step's and the deepest tree's."""
    found = list(computed(graph))
    if every:
        return found
    dearest = max(found, key=lambda i: step_bound(graph, i).transaction_gas)
    deepest = max(found, key=lambda i: shapes.depth(graph.nodes[i].header))
    return sorted({dearest, deepest, *middle_operators(graph)})


def measure(node: Node, name: str, every: bool) -> dict[str, Any]:
    """One model's row."""
    executor, codes = shipped(name) if name in MODELS else network(name)
    graph, table = executor.graph, Table(node, executor.graph)
    honest, chosen = Trace(executor, codes), chosen_operators(executor.graph, every)
    fights = {}
    for nonce, operator in enumerate(chosen):
        element = graph.nodes[operator].header.size // 2
        liar = Liar(executor, codes, operator, element)
        fights[operator] = {
            "primitive": graph.nodes[operator].primitive,
            **table.fight(liar, honest, 2 * nonce),
            "fraud": table.fraud(liar, honest, 2 * nonce + 1),
        }
    return {
        "model": name,
        "operators": len(graph.nodes),
        "registration": table.register_gas,
        **table.settle(honest, 2 * len(chosen)),
        "step_bound": table.step_gas,
        "worst_case": astuple(worst_case(graph, table.step_gas)),
        "dearest_moves": table.dearest,
        "disputes": fights,
        "targets": TARGETS,
    }


def show(row: dict[str, Any]) -> str:
    fights = row["disputes"].values()
    worst = {key: max(fight[key] for fight in fights) for key in ("all", "asserter", "challenger", "step", "fraud")}
    return (
        f"{row['model']}: assertion {row['assertion']:,} (without input {row['assertion_without_input']:,}), settle "
        f"{row['settle']:,}; {len(fights)} disputes, dearest {worst['all']:,} for both sides (asserter "
        f"{worst['asserter']:,}, challenger {worst['challenger']:,}), last step {worst['step']:,}, "
        f"{max(fight['asserter_moves'] for fight in fights)} answers; in one transaction {worst['fraud']:,}; "
        f"registration {row['registration']:,}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=(*MODELS, LARGE))
    parser.add_argument("--every", action="store_true", help="lie in every operator of the shipped models")
    chosen = parser.parse_args()
    rows = []
    for name in chosen.models:
        with anvil() as (node, version):
            rows.append({**measure(node, name, chosen.every and name in MODELS), "node": version})
        print(show(rows[-1]), flush=True)
    if tuple(chosen.models) == (*MODELS, LARGE):
        publish("dispute_gas", ("web3",), {"models": rows})


if __name__ == "__main__":
    main()
