"""A world in which disputes are played: small models, terms, players and a liar's trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.optimistic.dispute_step import step
from vml.backends.optimistic import moves, refusals
from vml.backends.optimistic.game import Rules, play
from vml.backends.optimistic.records import Assertion, Call, Dispute, Event, Result, State, Status, Terms, dispute_id
from vml.backends.optimistic.step import Step
from vml.backends.optimistic.strategy import Complaint, Difference, asserter_moves, challenger_move
from vml.backends.optimistic.trace import Trace
from vml.claim import ZERO_CONTEXT, Claim
from vml.merkle import tensor_bytes, tensor_root, tensors_root
from vml.model import compile_model
from vml.model.builder import Builder
from vml.model.codec import View
from vml.model.executor import Executor
from vml.model.graph import Graph, TensorSpec

Array = np.ndarray[Any, np.dtype[Any]]
Escalations = Callable[[Terms, Claim, bytes], None]
CIRCUITS = Path(__file__).parents[3] / "circuits"

ALICE, BOB, CAROL, MALLORY = (bytes([letter]) * 20 for letter in b"ABCM")
TERMS = Terms(
    window_s=1000,
    asserter_clock_s=300,
    challenger_clock_s=200,
    extension_s=20,
    asserter_bond=1001,
    challenger_bond=301,
    slash_reward=400,
    defence_reward=150,
    request_fee=90,
)


@cache
def shipped(name: str) -> tuple[Executor, dict[str, Array]]:
    """A shipped model's executor, and codes of one input."""
    folder = CIRCUITS / name
    with np.load(folder / "calibration.npz") as stored:
        calibration = {key: stored[key] for key in stored.files}
    model = compile_model(folder / "model.onnx", calibration=calibration)
    codes = model.quantize({key: values[:1] for key, values in calibration.items()})
    return model.executor, dict(codes)


@cache
def tall() -> tuple[Executor, dict[str, Array]]:
    """Three operators; the middle one's tensor has 41 leaves, so its tree has depth 6 and descents have two nodes."""
    b = Builder(name="tall")
    x = b.input(0, (700, 30), -100, 100, Fraction(1), "float")
    shown = View(0, (30, 1))
    double = b.emit("affine", (700, 30), [x.ref], a=shown, b=View(0, ()), alpha=200, beta=0, gamma=1)
    total = b.emit("reduce_sum", (30,), [double], reduced=(700,), x=View(0, (1, 30)))
    outputs = [TensorSpec("total", "float32", total, b.nodes[total].header, Fraction(1))]
    graph = b.finish([TensorSpec("x", "float32", x.ref, b.header(x), Fraction(1))], outputs)[0]
    codes = np.random.default_rng(5).integers(-100, 101, (700, 30))
    return Executor(graph), {"x": codes}


class Altered(Trace):
    """What a liar says its trace is: some operators' tensors are replaced, all else is honest."""

    def __init__(self, honest: Trace, inputs: Mapping[str, Array], altered: Mapping[int, Array]) -> None:
        super().__init__(honest._executor, inputs)
        self.altered, self.honest = dict(altered), honest

    @cached_property
    def roots(self) -> tuple[bytes, ...]:
        return tuple(
            tensor_root(self.altered[i]) if i in self.altered else root for i, root in enumerate(self.honest.roots)
        )

    def tensor(self, node: int) -> Array:
        return self.altered[node] if node in self.altered else super().tensor(node)

    def claim(self, context: bytes = ZERO_CONTEXT) -> Claim:
        inputs, outputs = ([self.roots[s.node] for s in side] for side in (self.graph.inputs, self.graph.outputs))
        return Claim(self.graph.commitment, tensors_root(inputs), tensors_root(outputs), context)


def flipped(values: Array, place: int, by: int = 1) -> Array:
    """A copy with the lowest bits of one element flipped."""
    out = values.copy()
    out.reshape(-1)[place] ^= by
    return out


def with_false_output(honest: Trace, inputs: Mapping[str, Array], altered: Mapping[int, Array]) -> Altered:
    """The liar's trace, with its output altered too, so that the claim is false."""
    last = honest.graph.outputs[0].node
    return Altered(honest, inputs, {last: flipped(honest.tensor(last), 0), **altered})


def refuse_all(terms: Terms, claim: Claim, selector: bytes) -> None:
    """No stronger proof of anything was shown."""
    raise refusals.EscalationRefused(selector)


def admit_all(terms: Terms, claim: Claim, selector: bytes) -> None:
    """A backend that proves whatever it is asked to, true or false."""


class World:
    """A game, its time and its money."""

    def __init__(
        self,
        *graphs: Graph,
        terms: Terms = TERMS,
        oracle: Step = step,
        escalations: Escalations | None = refuse_all,
    ) -> None:
        models = {g.commitment: g for g in graphs}
        self.rules = Rules(1, b"\x01" * 20, models, {terms.digest(): terms}, oracle, escalations)
        self.terms = terms
        self.state = State()
        self.now = 10
        self.events: list[Event] = []
        self.spent: dict[bytes, int] = {}  # less what was withdrawn
        self.taken = 0

    def price(self, move: moves.Move) -> int:
        """What a move takes."""
        bonds = {
            moves.Assert: self.terms.asserter_bond,
            moves.Challenge: self.terms.challenger_bond,
            moves.RequestInput: self.terms.challenger_bond,
        }
        return bonds.get(type(move), 0)

    def do(self, sender: bytes, move: moves.Move, value: int | None = None) -> None:
        """One move, paid with what it takes."""
        value = self.price(move) if value is None else value
        outcome = play(self.rules, self.state, Call(sender, self.now, value), move)
        self.spent[sender] = self.spent.get(sender, 0) + value
        if isinstance(move, moves.Withdraw):
            out = outcome.state.withdrawn - self.state.withdrawn
            self.spent[sender] -= out
            self.taken += out
        self.state = outcome.state
        self.events += outcome.events
        self.check_money()

    def refused(self, sender: bytes, move: moves.Move, value: int | None = None) -> type[refusals.MoveRefused]:
        """How a move is refused; the state is checked to be as before."""
        before = self.state
        try:
            self.do(sender, move, value)
        except refusals.MoveRefused as error:
            assert self.state is before
            return type(error)
        raise AssertionError(f"{move} was taken")

    def check_money(self) -> None:
        s = self.state
        assert s.received == s.held() + sum(s.credits.values()) + s.withdrawn + s.burned
        assert s.received == sum(self.spent.values()) + self.taken
        assert min(s.credits.values(), default=0) >= 0
        assert s.burned >= 0

    def assertion(self, key: bytes) -> Assertion:
        return self.state.assertions[key]

    def dispute(self, key: bytes) -> Dispute:
        return self.state.disputes[key]

    def wealth(self, who: bytes) -> int:
        """What somebody has gained so far, bonds in play counted as lost."""
        return self.state.credits.get(who, 0) - self.spent.get(who, 0)

    def make(self, who: bytes, trace: Trace, *, eager: bool = False, give_input: bool = True, nonce: int = 0) -> bytes:
        move = moves.Assert(
            trace.claim(),
            self.terms.digest(),
            nonce,
            trace.commitment() if eager else None,
            input_of(trace) if give_input else None,
        )
        self.do(who, move)
        return move.id(self.rules.chain_id, self.rules.contract, who)

    def challenge(self, who: bytes, assertion: bytes, salt: int = 0) -> bytes:
        word = salt.to_bytes(32, "big")
        self.do(who, moves.Challenge(assertion, word))
        return dispute_id(assertion, who, word)

    def defend(self, who: bytes, key: bytes, trace: Trace) -> int:
        """The asserter makes every move it has; returns how many."""
        made = list(asserter_moves(self.state, key, trace, self.now))
        for move in made:
            self.do(who, move)
        return len(made)

    def attack(self, who: bytes, key: bytes, complaint: Complaint) -> moves.Move | None:
        move = challenger_move(self.state, key, complaint, self.now)
        if move is not None:
            self.do(who, move)
        return move

    def fight(self, asserter: bytes, key: bytes, liar: Trace, challenger: bytes, complaint: Complaint) -> int:
        """One dispute to its end; returns the asserter's moves."""
        dispute, made = self.challenge(challenger, key), 0
        for _ in range(40):
            if self.dispute(dispute).result is not Result.OPEN:
                return made
            made += self.defend(asserter, key, liar)
            self.attack(challenger, dispute, complaint)
            self.now += 1
        raise AssertionError("the dispute does not end")

    def wait(self, seconds: int) -> None:
        self.now += seconds


def input_of(trace: Trace) -> tuple[bytes, ...]:
    return tuple(tensor_bytes(trace.tensor(spec.node)) for spec in trace.graph.inputs)


def honest(pair: tuple[Executor, dict[str, Array]]) -> Trace:
    return Trace(*pair)


def difference(trace: Trace, oracle: Step = step) -> Difference:
    return Difference(trace, oracle)


def slashed(world: World, key: bytes) -> bool:
    return world.assertion(key).status is Status.SLASHED
