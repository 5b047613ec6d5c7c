"""A dispute game on an embedded chain that can be reorganised, stalled and cut off, and players on it."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tests.backends.optimistic.dispute_world import flipped, honest, tall, with_false_output
from vml.backends.optimistic import moves
from vml.backends.optimistic.records import Status, Terms
from vml.backends.optimistic.trace import Trace
from vml.chain import artifacts
from vml.chain.client import Chain
from vml.chain.embedded import EmbeddedChain
from vml.chain.graphs import register_graph
from vml.chain.keys import Signer, from_private_key
from vml.chain.rpc import Rpc
from vml.claim import parse_address
from vml.dispute import calls
from vml.dispute.follower import Follower
from vml.dispute.journal import Journal
from vml.dispute.library import Library
from vml.dispute.player import Habits, Player
from vml.dispute.sender import Budget, Sender
from vml.dispute.store import Own, Store
from vml.model.executor import Executor
from vml.model.graph import Graph
from vml.model.semantics import semantics_digest

STEP_GAS = 14_000_000
ZERO_ADDRESS = "0x" + "00" * 20
TERMS = Terms(
    window_s=20_000,
    asserter_clock_s=5_000,
    challenger_clock_s=4_000,
    extension_s=200,
    asserter_bond=1001,
    challenger_bond=301,
    slash_reward=400,
    defence_reward=150,
    request_fee=90,
)


def signer(number: int) -> Signer:
    return from_private_key(f"{number + 1:064x}")


ALICE, BOB, CAROL, MALLORY = (signer(number) for number in range(4))


class Forks:
    """An embedded chain whose last blocks can be taken back, which can hold transactions, and which can be gone."""

    def __init__(self) -> None:
        self.chain = EmbeddedChain()
        self.done: list[tuple[str, Any]] = []  # what made the chain what it is
        self.asked: list[str] = []
        self.waiting: list[str] = []  # held transactions, raw
        self.holding = False  # as if nobody mined
        self.gone = 0  # so many requests are not answered

    def make_request(self, method: str, params: Any) -> Any:
        self.asked.append(method)
        if self.gone:
            self.gone -= 1
            raise ConnectionError("gone")
        if self.holding and method == "eth_sendRawTransaction":
            self.waiting.append(params[0])
            from vml.keccak import keccak256

            return {"jsonrpc": "2.0", "id": 0, "result": "0x" + keccak256(bytes.fromhex(params[0][2:])).hex()}
        answer = self.chain.make_request(method, params)
        changes = method in ("eth_sendRawTransaction", "eth_sendTransaction", "evm_mine", "evm_increaseTime")
        if changes and "result" in answer:
            self.done.append((method, params))
        return answer

    def release(self, *, only_last: bool = False) -> None:
        """Mine what was held; of several with one nonce, the last."""
        held, self.waiting, self.holding = self.waiting, [], False
        for raw in held[-1:] if only_last else held:
            self.make_request("eth_sendRawTransaction", [raw])

    def tick(self, seconds: int) -> None:
        self.make_request("evm_increaseTime", [hex(seconds)])
        self.make_request("evm_mine", [])

    def take_back(self, count: int, *, keep: bool) -> None:
        """Another branch without the last `count` changes; `keep` has them mined again on it, later."""
        dropped = self.done[-count:]
        kept, self.done, self.chain = self.done[:-count], [], EmbeddedChain()
        for method, params in kept:
            self.make_request(method, params)
        self.tick(1)
        if keep:
            for method, params in dropped:
                self.make_request(method, params)


@dataclass
class Site:
    """A deployed game."""

    node: Forks
    game: str
    registry: str
    graph: Graph

    def chain(self, who: Signer | None) -> Chain:
        return Chain(Rpc(self.node, "test", sleep=lambda s: None), "test", signer=who)

    def now(self) -> int:
        return int(self.node.chain.make_request("eth_getBlockByNumber", ["latest", False])["result"]["timestamp"], 16)


@cache
def _build() -> list[tuple[str, Any]]:
    """The requests that put up a game with the tall model registered and the terms offered."""
    node = Forks()
    deployer = Chain(Rpc(node, "test"), "test", signer=signer(99))
    registry = artifacts.load("GraphRegistry")
    graphs = deployer.deploy(registry.bytecode, registry.abi, [semantics_digest(), STEP_GAS])
    steps = deployer.deploy(artifacts.load("StepVerifier").bytecode)
    contract = artifacts.load("DisputeGame")
    game = deployer.deploy(contract.bytecode, contract.abi, [graphs, steps, ZERO_ADDRESS])
    register_graph(deployer, graphs, tall()[0].graph)
    deployer.transact(game, contract.abi, "offerTerms", astuple(TERMS))
    return [*node.done, ("game", game), ("registry", graphs)]


def site() -> Site:
    """A chain of its own with the game, from the same transactions each time."""
    *done, (_, game), (_, registry) = _build()
    node = Forks()
    for method, params in done:
        node.make_request(method, params)
    return Site(node, game, registry, tall()[0].graph)


@dataclass(frozen=True)
class Plain:
    """A model without a folder."""

    executor: Executor

    @property
    def graph(self) -> Graph:
        return self.executor.graph

    @property
    def commitment(self) -> bytes:
        return self.graph.commitment


class Liars(Library):
    """A library that runs some assertions in its own way."""

    def __init__(self, lies: dict[bytes, Trace]) -> None:
        super().__init__()
        self.lies = lies

    def trace(self, key: bytes, commitment: bytes, data: Any) -> Trace:
        return self.lies.get(key) or super().trace(key, commitment, data)


def player(
    where: Site,
    who: Signer | None,
    *,
    db: Path | None = None,
    habits: Habits | None = None,
    budget: Budget | None = None,
    lies: dict[bytes, Trace] | None = None,
    models: bool = True,
    confirmations: int = 1,
    stuck_s: float = 1e9,
    metrics: bool = False,
    first: int = 0,
) -> Player:
    """A player; it takes `TERMS`, which satisfy no profile, besides those that its habits allow."""
    chain = where.chain(who)
    store = Store(db)
    store.bind(chain.chain_id, chain.genesis(), where.game, chain.sender)
    library = Liars(lies or {})
    if models:
        library.add(Plain(tall()[0]))
    follower = Follower(chain, where.game, store, first=first, confirmations=confirmations, remembered=64)
    habits = habits or Habits()
    habits = replace(habits, terms=habits.terms | {TERMS.digest()})
    sender = Sender(chain, where.game, store, budget or Budget(), stuck_s=stuck_s)
    return Player(follower, sender, store, library, habits, Journal(metrics=metrics), sleep=lambda s: None)


def close(*players: Player) -> None:
    for each in players:
        each.store.close()


def assertion(who: Player, trace: Trace, *, give_input: bool = True, nonce: int = 0, eager: bool = False) -> bytes:
    """An assertion of this player's, made."""
    return assertion_of(who, trace, TERMS, give_input=give_input, nonce=nonce, eager=eager)


def assertion_of(
    who: Player, trace: Trace, terms: Terms, *, give_input: bool = True, nonce: int = 0, eager: bool = False
) -> bytes:
    """The same under other terms."""
    data = trace.input_bytes()
    shown = trace.commitment() if eager else None
    move = moves.Assert(trace.claim(), terms.digest(), nonce, shown, data if give_input else None)
    key = move.id(who.sender.chain.chain_id, parse_address(who.sender.game), who.me)
    who.store.add_own(Own(key, trace.graph.commitment, None, data))
    who.follower.sync()
    who.sender.send(calls.call(who.follower.ledger, move, sender=who.me), "Assert", key.hex(), stake=0)
    return key


def rounds(*players: Player, count: int = 40) -> int:
    """Let players move in turn until nobody has done anything for a while; returns the rounds."""
    idle = 0
    for number in range(count):
        busy = [each.round() for each in players]
        idle = 0 if any(busy) else idle + 1
        if idle == 3:
            return number
    raise AssertionError("they never end")


def truth() -> Trace:
    return honest(tall())


TRUTH = truth()
LIE = with_false_output(TRUTH, tall()[1], {1: flipped(TRUTH.tensor(1), 700)})


def liar(where: Site, db: Path | None = None, *, lie: Trace = LIE, **how: Any) -> tuple[Player, bytes]:
    """Somebody who asserted a lie, and defends it as well as can be done."""
    one = player(where, MALLORY, db=db)
    key = assertion(one, lie, **how)
    one.library.lies[key] = lie  # type: ignore[attr-defined]
    return one, key


def status(one: Player, key: bytes) -> Status:
    one.follower.sync()
    return one.follower.ledger.state.assertions[key].status


def transactions(where: Site) -> int:
    return sum(method == "eth_sendRawTransaction" for method, _ in where.node.done)
