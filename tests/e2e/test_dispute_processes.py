"""On a real node: asserter and watcher are processes, killed again and again in the middle of a dispute."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import pytest

from tests.backends.optimistic.dispute_world import tall
from tests.chain.conftest import anvil as anvil
from tests.dispute import dispute_process
from tests.dispute.dispute_chain import STEP_GAS, TERMS, TRUTH, ZERO_ADDRESS, Liars, assertion, close, signer
from vml.backends.optimistic.records import Status
from vml.backends.optimistic.trace import Trace
from vml.chain import artifacts
from vml.chain.client import connect
from vml.chain.graphs import register_graph
from vml.dispute.follower import Follower
from vml.dispute.journal import Journal
from vml.dispute.player import Habits, Player
from vml.dispute.sender import Budget, Sender
from vml.dispute.store import MINED, Store
from vml.model.semantics import semantics_digest

ROOT = Path(__file__).parents[2]
DEPLOYER, ASSERTER, WATCHER = 0, 1, 2
PLACE = 700
LIMIT_S = 120.0
FUNDS = hex(10**21)


@pytest.fixture
def game(anvil: str) -> str:
    """A game on a node of its own, with money for everybody and the tall model registered."""
    for number in (DEPLOYER, ASSERTER, WATCHER):
        connect(anvil).rpc.ask("anvil_setBalance", signer(number).address, FUNDS)
    chain = connect(anvil, signer=signer(DEPLOYER))
    registry, contract = artifacts.load("GraphRegistry"), artifacts.load("DisputeGame")
    graphs = chain.deploy(registry.bytecode, registry.abi, [semantics_digest(), STEP_GAS])
    steps = chain.deploy(artifacts.load("StepVerifier").bytecode)
    address = chain.deploy(contract.bytecode, contract.abi, [graphs, steps, ZERO_ADDRESS])
    register_graph(chain, graphs, tall()[0].graph)
    chain.transact(address, contract.abi, "offerTerms", astuple(TERMS))
    return address


class Processes:
    """Players' processes by account; they end with SIGKILL and in no other way."""

    def __init__(self, url: str, game: str, folder: Path) -> None:
        self.url, self.game, self.folder = url, game, folder
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def file(self, who: int) -> Path:
        return self.folder / f"{who}.sqlite"

    def start(self, who: int, *place: int) -> None:
        arguments = [self.url, self.game, self.file(who), who, *place]
        command = [sys.executable, "-m", "tests.dispute.dispute_process", *map(str, arguments)]
        self.running[who] = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)

    def kill(self, who: int) -> None:
        process = self.running.pop(who)
        assert process.poll() is None, "a player ended by itself"
        process.send_signal(signal.SIGKILL)
        process.wait(10)


@pytest.fixture
def processes(anvil: str, game: str, tmp_path: Path) -> Iterator[Processes]:
    made = Processes(anvil, game, tmp_path)
    yield made
    for who in list(made.running):
        made.kill(who)


def asserted(url: str, game: str, db: Path, trace: Trace) -> bytes:
    one = dispute_process.player(url, game, db, ASSERTER, PLACE)
    try:
        return assertion(one, trace)
    finally:
        close(one)


def spectator(url: str, game: str) -> Player:
    """Reads only; a player of an account that plays nothing."""
    chain, store = connect(url), Store(None)
    sender = Sender(chain, game, store, Budget())
    return Player(Follower(chain, game, store), sender, store, Liars({}), Habits(dry=True), Journal())


def status(one: Player, key: bytes) -> Status:
    one.follower.sync()
    return one.follower.ledger.state.assertions[key].status


def test_both_sides_are_killed_and_go_on(anvil: str, game: str, processes: Processes) -> None:
    """Whatever the moments at which the two are killed, the lie is slashed, and nobody sent anything twice."""
    rng, kills = random.Random(), 0
    key = asserted(anvil, game, processes.file(ASSERTER), dispute_process.lie(PLACE))
    watching, deadline = spectator(anvil, game), time.monotonic() + LIMIT_S
    chain = watching.sender.chain
    places = {ASSERTER: (PLACE,), WATCHER: ()}
    for who, place in places.items():
        processes.start(who, *place)
    while status(watching, key) is Status.OPEN:
        block = chain.rpc.number("eth_blockNumber")
        until = block + rng.randrange(1, 3)
        while chain.rpc.number("eth_blockNumber") < until and status(watching, key) is Status.OPEN:
            assert time.monotonic() < deadline, f"still open after {kills} kills"
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.05))
        for who in rng.choice([(ASSERTER,), (WATCHER,), (ASSERTER, WATCHER)]):
            processes.kill(who)
            processes.start(who, *places[who])
            kills += 1
    assert status(watching, key) is Status.SLASHED
    assert kills > 2
    for who, place in places.items():
        processes.kill(who)
        one = dispute_process.player(anvil, game, processes.file(who), who, *place or (None,))
        for _ in range(3):
            one.round()
        sent = one.store.sent()
        assert {each.state for each in sent} == {MINED}
        assert len({each.move for each in sent}) == len({each.nonce for each in sent}) == len(sent)
        # What the file knows is all that the account ever did.
        assert chain.rpc.number("eth_getTransactionCount", signer(who).address, "latest") == len(sent)
        close(one)


def test_a_true_assertion_is_settled_by_an_asserter_begun_anew(anvil: str, game: str, processes: Processes) -> None:
    one = dispute_process.player(anvil, game, processes.file(ASSERTER), ASSERTER, None)
    try:
        key = assertion(one, TRUTH)
    finally:
        close(one)
    watching, deadline = spectator(anvil, game), time.monotonic() + LIMIT_S
    chain = watching.sender.chain
    chain.rpc.ask("evm_increaseTime", TERMS.window_s + 1)
    chain.rpc.ask("evm_mine")
    processes.start(ASSERTER)
    while status(watching, key) is Status.OPEN:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert status(watching, key) is Status.FINAL
