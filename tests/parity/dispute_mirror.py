"""The dispute game twice: every move that a `World` makes is also sent to the contract, in an embedded EVM.

Both must take it or both refuse it, and afterwards the contract's records are compared with the state, word for word.
A move that cannot be written as a call (of an assertion that does not exist, say) is only checked to be refused.
"""

from __future__ import annotations

import re
from typing import Any

import pyrevm
from eth_abi import decode, encode
from eth_abi.exceptions import EncodingError

from tests.backends.optimistic.dispute_world import World
from vml.backends.optimistic import moves, refusals
from vml.backends.optimistic.records import Assertion, Dispute, Result, Status, Terms
from vml.claim import checksum_address
from vml.dispute import calls
from vml.dispute.ledger import Ledger
from vml.keccak import keccak256
from vml.merkle import graph_tree, trace_root, tree_depth
from vml.model.graph import Graph, encode_specs
from vml.model.semantics import semantics_digest

ZERO = bytes(32)
NOBODY = "0x" + "00" * 20
DEPLOYER = "0x" + "77" * 20
RICH = 10**30
REVERT = re.compile(r"output: (0x[0-9a-f]*)")
STATUS = {Status.OPEN: 1, Status.FINAL: 2, Status.SLASHED: 3, Status.VOID: 4}
RESULT = {Result.OPEN: 1, Result.WON: 2, Result.LOST: 3, Result.MOOT: 4}
CHUNK_BITS = 4


class Refused(Exception):
    """The contract refused, with this custom error's name."""


def _abi_type(parameter: dict[str, Any]) -> str:
    if not parameter["type"].startswith("tuple"):
        return str(parameter["type"])
    members = ",".join(_abi_type(member) for member in parameter["components"])
    return f"({members}){parameter['type'][len('tuple') :]}"


def _selector(entry: dict[str, Any]) -> bytes:
    return keccak256(f"{entry['name']}({','.join(map(_abi_type, entry['inputs']))})".encode())[:4]


class Contract:
    """A contract at an address of one EVM."""

    def __init__(self, evm: pyrevm.EVM, artifact: dict[str, Any], errors: dict[bytes, str]) -> None:
        self._evm, self._artifact, self._errors = evm, artifact, errors
        self._functions = {e["name"]: e for e in artifact["abi"] if e["type"] == "function"}
        self.address = ""

    def deploy(self, types: tuple[str, ...] = (), *arguments: object) -> Contract:
        data = bytes.fromhex(self._artifact["bytecode"][2:]) + encode(types, arguments)
        self.address = self._evm.deploy(DEPLOYER, data)
        return self

    def data(self, name: str, *arguments: object) -> bytes:
        entry = self._functions[name]
        return _selector(entry) + encode([_abi_type(item) for item in entry["inputs"]], arguments)

    def payable(self, data: bytes) -> bool:
        return any(
            _selector(entry) == data[:4] and entry["stateMutability"] == "payable" for entry in self._functions.values()
        )

    def send(self, sender: str, data: bytes, value: int = 0) -> bytes:
        try:
            return bytes(self._evm.message_call(sender, self.address, calldata=data, value=value))
        except RuntimeError as error:
            match = REVERT.search(str(error))
            selector = bytes.fromhex(match[1][2:10]) if match else b""
            # A panic, an empty revert or want of gas is nothing that a move may end in.
            if selector not in self._errors:
                raise
            raise Refused(self._errors[selector]) from None

    def ask(self, name: str, *arguments: object) -> Any:
        entry = self._functions[name]
        raw = self.send(DEPLOYER, self.data(name, *arguments))
        values = decode([_abi_type(item) for item in entry["outputs"]], raw)
        return values if len(values) > 1 else values[0]


class Mirror:
    """The contracts of a world: its models registered, its terms offered."""

    def __init__(self, artifacts: dict[str, Any], world: World) -> None:
        self.evm = pyrevm.EVM()
        self.evm.set_balance(DEPLOYER, RICH)
        self.world = world
        self.pairs: set[tuple[str, str]] = set()
        entries = (e for artifact in artifacts.values() for e in artifact["abi"] if e["type"] == "error")
        errors = {_selector(entry): entry["name"] for entry in entries}

        def contract(name: str) -> Contract:
            return Contract(self.evm, artifacts[f"{name}.sol:{name}"], errors)

        registry = contract("GraphRegistry").deploy(("bytes32", "uint256"), semantics_digest(), 1 << 40)
        steps = contract("StepVerifier").deploy()
        self.gate = contract("Escalations").deploy()
        self.game = contract("DisputeGame").deploy(("address",) * 3, registry.address, steps.address, self.gate.address)
        # Where the world says that the contract is; what the constructor fixed is in the code.
        code = self.evm.get_code(self.game.address)
        self.game.address = checksum_address(world.rules.contract)
        self.evm.insert_account_info(self.game.address, pyrevm.AccountInfo(code=code))
        self._registry, self._known = registry, set[bytes]()
        self.nonces: dict[bytes, int] = {}

    def play(self, sender: bytes, move: moves.Move, value: int) -> str | None:
        """What the contract says to the move that the world is about to make: None takes it.

        Returns:
            The name of its error; "no call" where the move cannot be written as one.
        """
        world = self.world
        if world.now < world.state.now:
            return "no call"  # no chain's time runs backwards
        self.evm.set_block_env(pyrevm.BlockEnv(number=world.now, timestamp=world.now, basefee=0, gas_limit=1 << 40))
        self._learn()
        who = checksum_address(sender)
        self.evm.set_balance(who, RICH)
        try:
            data = self._data(sender, move)
        except (AttributeError, EncodingError, IndexError, KeyError, OverflowError, ValueError):
            return "no call"
        if value and not self.game.payable(data):
            return "not payable"
        try:
            self.game.send(who, data, value)
        except Refused as error:
            return str(error)
        if isinstance(move, moves.Assert):
            self.nonces[move.id(world.rules.chain_id, world.rules.contract, sender)] = move.nonce
        return None

    def _learn(self) -> None:
        """Models and terms that the world has and the contracts have not."""
        rules = self.world.rules
        for key, graph in rules.models.items():
            if key not in self._known:
                register(self._registry, graph)
        for key, terms in rules.terms.items():
            if key not in self._known:
                self.game.send(DEPLOYER, self.game.data("offerTerms", terms_tuple(terms)))
        self._known = {*rules.models, *rules.terms}

    def _data(self, sender: bytes, move: moves.Move) -> bytes:
        world = self.world
        ledger = Ledger(world.rules.chain_id, world.rules.contract, world.state, dict(world.rules.terms), self.nonces)
        if isinstance(move, moves.Escalate):
            whole = calls.whole_assertion(ledger, move.assertion)
            self.gate.send(DEPLOYER, self.gate.data("set", self._admitted(move)))
            return self.game.data("escalate", whole, move.selector)
        made = calls.call(ledger, move, self._graph(move), sender)
        return self.game.data(made.name, *made.arguments)

    def _admitted(self, move: moves.Escalate) -> bool:
        assertion, admit = self.world.state.assertions[move.assertion], self.world.rules.escalations
        try:
            return admit is not None and admit(assertion.terms, assertion.claim, move.selector) is None
        except refusals.MoveRefused:
            return False

    def _graph(self, move: moves.Move) -> Graph | None:
        state = self.world.state
        key = getattr(move, "assertion", None)
        if hasattr(move, "dispute"):
            key = state.disputes[move.dispute].assertion
        return None if key not in state.assertions else self.world.rules.models[state.assertions[key].claim.model]

    def compare(self) -> None:
        """Every record of the contract is that of the state."""
        state, game = self.world.state, self.game
        for key, assertion in state.assertions.items():
            assert game.ask("recordOf", key) == record(assertion)
            list_ = ZERO if assertion.roots is None else trace_root(assertion.roots)
            assert game.ask("listOf", key) == list_
            for position, reveal in assertion.reveals.items():
                assert game.ask("revealedAt", key, (position.operator, position.height, position.index)) == reveal.at
        for key, dispute in state.disputes.items():
            assert game.ask("disputeOf", key) == dispute_record(dispute)
        for who, credit in state.credits.items():
            assert game.ask("creditOf", checksum_address(who)) == credit
        assert game.ask("burned") == state.burned
        held = self.evm.get_balance(game.address)
        assert held == state.received - state.withdrawn == state.held() + sum(state.credits.values()) + state.burned


def terms_tuple(t: Terms) -> tuple[object, ...]:
    return (
        t.window_s,
        t.asserter_clock_s,
        t.challenger_clock_s,
        t.extension_s,
        t.asserter_bond,
        t.challenger_bond,
        t.slash_reward,
        t.defence_reward,
        t.request_fee,
        t.escalated_window_s,
        t.escalation,
    )


def record(a: Assertion) -> tuple[object, ...]:
    """The contract's Record."""
    requested = 0 if a.request is None else a.request.at
    known = a.input is not None
    shown = a.roots_at or 0
    return (
        *(a.opened_at, a.closes_at, shown, requested, a.open_disputes),
        *(STATUS[a.status], known, a.contradicted, a.escalated),
    )


def dispute_record(d: Dispute) -> tuple[object, ...]:
    """The contract's Dispute."""
    place = (0, 0, 0) if d.position is None else (d.position.operator, d.position.height, d.position.index)
    return (
        *(d.assertion, "0x" + d.challenger.hex(), d.since, RESULT[d.result], d.position is not None),
        *(d.asserter_left_s, d.challenger_left_s, *place, d.digest or ZERO),
    )


def register(registry: Contract, graph: Graph) -> None:
    """Send a graph in chunks."""
    descriptors = [node.encode() for node in graph.nodes]
    tree = graph_tree(descriptors)
    bits = min(CHUNK_BITS, tree_depth(len(descriptors)))
    specs = encode_specs(graph.inputs), encode_specs(graph.outputs)
    registry.send(DEPLOYER, registry.data("open", graph.root, len(descriptors), bits, *specs))
    for first in range(0, len(descriptors), 1 << bits):
        chunk = descriptors[first : first + (1 << bits)]
        registry.send(DEPLOYER, registry.data("append", graph.commitment, chunk, tree.open(first)[bits:]))


class Disagreement(AssertionError):
    """One took a move that the other refused."""


def mirrored(world: World, artifacts: dict[str, Any]) -> Mirror:
    """Make a world play on the contract as well."""
    mirror = Mirror(artifacts, world)
    plain = world.do

    def do(sender: bytes, move: moves.Move, value: int | None = None) -> None:
        paid = world.price(move) if value is None else value
        said = mirror.play(sender, move, paid)
        try:
            plain(sender, move, paid)
        except refusals.MoveRefused as error:
            if said is None:
                raise Disagreement(f"the contract took a {type(move).__name__}, Python says {error}") from error
            mirror.pairs.add((type(error).__name__, said))
            raise
        if said is not None:
            raise Disagreement(f"Python took a {type(move).__name__}, the contract says {said}")
        mirror.compare()

    world.do = do  # type: ignore[method-assign]
    return mirror
