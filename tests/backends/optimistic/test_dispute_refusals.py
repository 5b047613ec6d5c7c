"""Every way to refuse a move, each shown once; a refusal that no test shows fails the suite."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends.optimistic.dispute_errors import CONTRACT_ERRORS, CONTRACT_ONLY, REASONS
from tests.backends.optimistic.dispute_world import (
    ALICE,
    BOB,
    MALLORY,
    TERMS,
    Altered,
    World,
    difference,
    flipped,
    honest,
    input_of,
    tall,
    with_false_output,
)
from vml.backends.optimistic import moves, refusals
from vml.backends.optimistic.records import Position, Terms
from vml.backends.optimistic.strategy import fraud
from vml.claim import Claim

ROOT = Path(__file__).parents[3]
CONTRACTS, SOURCES = ROOT / "verifier_contracts" / "src", ROOT / "vml" / "backends" / "optimistic"
X, DOUBLE, TOTAL = range(3)
ZERO = bytes(32)
Refusal = type[refusals.MoveRefused]
TRACE = honest(tall())
TOP = Position(DOUBLE, 6, 0)


class Scene(World):
    """One assertion on the tall model, honest unless `lie` names a place of its middle operator."""

    def __init__(
        self, lie: int | None = None, *, eager: bool = False, give_input: bool = True, terms: Terms = TERMS
    ) -> None:
        super().__init__(TRACE.graph, terms=terms)
        self.trace = TRACE if lie is None else altered(lie)
        self.key = self.make(MALLORY, self.trace, eager=eager, give_input=give_input)

    def open(self) -> bytes:
        return self.challenge(BOB, self.key)

    def picked(self, operator: int = DOUBLE) -> bytes:
        """A dispute in which the operator has been picked."""
        dispute = self.open()
        self.do(MALLORY, moves.RevealList(self.key, self.trace.roots))
        self.do(BOB, moves.PickOperator(dispute, operator, self.trace.roots[operator]))
        return dispute

    def top(self, dispute: bytes, **changes: object) -> moves.RevealNode:
        """The reveal of the middle operator's top node."""
        move = moves.RevealNode(dispute, TOP, self.trace.children(TOP))
        return replace(move, **changes)  # type: ignore[arg-type]

    def descended(self, operator: int = DOUBLE) -> bytes:
        """A dispute whose turn is the challenger's at the top node, or at the leaf of an operator of one leaf."""
        dispute = self.picked(operator)
        self.defend(MALLORY, self.key, self.trace)
        return dispute

    def pick(self, dispute: bytes, child: int) -> moves.PickChild:
        return moves.PickChild(dispute, TOP, child, self.trace.children(TOP)[child % 32])

    def at_leaf(self) -> bytes:
        """The challenger's turn, the last genuine leaf revealed."""
        dispute = self.descended()
        self.do(BOB, self.pick(dispute, 20))
        self.defend(MALLORY, self.key, self.trace)
        node = Position(DOUBLE, 1, 20)
        self.do(BOB, moves.PickChild(dispute, node, 1, self.trace.children(node)[1]))
        self.defend(MALLORY, self.key, self.trace)
        return dispute

    def proof(self, dispute: bytes, element: int, **changes: object) -> moves.ProveStep:
        leaf = Position(DOUBLE, 0, 41)
        openings = TRACE.openings(self.rules.step, DOUBLE, element)
        move = moves.ProveStep(dispute, leaf, self.trace.leaf(DOUBLE, 41), element, openings)
        return replace(move, **changes)  # type: ignore[arg-type]


def altered(place: int) -> Altered:
    return with_false_output(TRACE, tall()[1], {DOUBLE: flipped(TRACE.tensor(DOUBLE), place)})


LAST = 20_999  # the last element of the middle operator, in leaf 41


def time_ran_backwards(s: Scene) -> Refusal:
    s.now -= 1
    return s.refused(BOB, moves.Challenge(s.key, ZERO))


def assertion_decided(s: Scene) -> Refusal:
    s.wait(TERMS.window_s + 1)
    s.do(ALICE, moves.Settle(s.key))
    return s.refused(BOB, moves.Challenge(s.key, ZERO))


def dispute_decided(s: Scene) -> Refusal:
    dispute = s.descended()
    s.wait(TERMS.challenger_clock_s + 1)
    s.do(ALICE, moves.ClaimTimeout(dispute))
    return s.refused(BOB, s.pick(dispute, 0))


def window_closed(s: Scene) -> Refusal:
    s.wait(TERMS.window_s + 1)
    return s.refused(BOB, moves.Challenge(s.key, ZERO))


def disputes_open(s: Scene) -> Refusal:
    s.wait(TERMS.window_s)
    s.open()
    s.wait(1)
    return s.refused(MALLORY, moves.Settle(s.key))


def late(s: Scene) -> Refusal:
    dispute = s.descended()
    s.wait(TERMS.challenger_clock_s + 1)
    return s.refused(BOB, s.pick(dispute, 0))


def rival_undecided(s: Scene) -> Refusal:
    s.wait(TERMS.window_s)
    s.make(ALICE, altered(3))
    s.wait(1)
    return s.refused(MALLORY, moves.Settle(s.key))


def children(s: Scene, count: int) -> tuple[bytes, ...]:
    return s.trace.children(TOP)[:count]


def reveal_twice(s: Scene) -> Refusal:
    return s.refused(MALLORY, s.top(s.descended()))


def with_padding(s: Scene) -> Refusal:
    return s.refused(MALLORY, s.top(s.picked(), children=(*children(s, 31), ZERO)))


def prove_in_one(s: Scene, **changes: object) -> Refusal:
    lie = altered(LAST)
    move = fraud(replace(s.assertion(s.key), trace=lie.commitment()), lie, TRACE, s.rules.step)
    assert move is not None
    return s.refused(BOB, replace(move, **changes))  # type: ignore[arg-type]


def leaf_length(s: Scene) -> Refusal:
    dispute = s.picked(TOTAL)
    header = s.rules.models[s.trace.graph.commitment].nodes[TOTAL].header
    assert header.size == 30
    return s.refused(MALLORY, moves.RevealLeaf(dispute, Position(TOTAL, 0, 0), bytes(3)))


def bad_opening(s: Scene) -> Refusal:
    proof = s.proof(s.at_leaf(), LAST)
    return s.refused(BOB, replace(proof, openings=(replace(proof.openings[0], data=bytes(1024)),)))


def withdrawn_twice(s: Scene) -> Refusal:
    s.wait(TERMS.window_s + 1)
    s.do(MALLORY, moves.Settle(s.key))
    s.do(MALLORY, moves.Withdraw())
    return s.refused(MALLORY, moves.Withdraw())


def claim_of(model: bytes = ZERO) -> moves.Assert:
    return moves.Assert(replace(TRACE.claim(), model=model), TERMS.digest())


def request(s: Scene) -> None:
    s.do(BOB, moves.RequestInput(s.key))


def requested_twice(s: Scene) -> Refusal:
    request(s)
    return s.refused(ALICE, moves.RequestInput(s.key))


def pending(s: Scene) -> Refusal:
    s.wait(TERMS.window_s)
    request(s)
    s.wait(1)
    return s.refused(MALLORY, moves.Settle(s.key))


def unfit(s: Scene, *data: bytes) -> Refusal:
    request(s)
    return s.refused(MALLORY, moves.RevealInput(s.key, data))


def listed_twice(s: Scene) -> Refusal:
    s.picked()
    return s.refused(MALLORY, moves.RevealList(s.key, s.trace.roots))


def other_list(s: Scene) -> Refusal:
    s.open()
    roots = (s.trace.roots[X], altered(3).roots[DOUBLE], s.trace.roots[TOTAL])
    return s.refused(MALLORY, moves.RevealList(s.key, roots))


def other_roots(s: Scene) -> tuple[bytes, ...]:
    return (ZERO, *s.trace.roots[1:])


ONE = b"\0\0\0\1"
LIE, EAGER, SECRET = {"lie": LAST}, {"eager": True}, {"give_input": False}

CASES: dict[Refusal, tuple[dict[str, object], Callable[[Scene], Refusal]]] = {
    refusals.TimeRanBackwards: ({}, time_ran_backwards),
    refusals.WrongValue: ({}, lambda s: s.refused(BOB, moves.Challenge(s.key, ZERO), 300)),
    refusals.GraphUnknown: ({}, lambda s: s.refused(BOB, claim_of())),
    refusals.TermsUnknown: ({}, lambda s: s.refused(BOB, moves.Assert(TRACE.claim(), ZERO))),
    refusals.AssertionExists: ({}, lambda s: s.refused(MALLORY, moves.Assert(TRACE.claim(), TERMS.digest()))),
    refusals.AssertionUnknown: ({}, lambda s: s.refused(BOB, moves.Challenge(ZERO, ZERO))),
    refusals.AssertionDecided: ({}, assertion_decided),
    refusals.AssertionStands: ({}, lambda s: s.refused(BOB, moves.CloseMoot(s.open()))),
    refusals.DisputeExists: ({}, lambda s: (s.open(), s.refused(BOB, moves.Challenge(s.key, ZERO)))[1]),
    refusals.DisputeUnknown: ({}, lambda s: s.refused(BOB, moves.ClaimTimeout(ZERO))),
    refusals.DisputeDecided: ({}, dispute_decided),
    refusals.DisputesOpen: ({}, disputes_open),
    refusals.WindowClosed: ({}, window_closed),
    refusals.WindowOpen: ({}, lambda s: s.refused(MALLORY, moves.Settle(s.key))),
    refusals.NotTheAsserter: ({}, lambda s: s.refused(BOB, moves.RevealList(s.key, s.trace.roots))),
    refusals.NotTheChallenger: ({}, lambda s: s.refused(ALICE, s.pick(s.descended(), 0))),
    refusals.InputCount: (SECRET, unfit),
    refusals.TensorSize: (SECRET, lambda s: unfit(s, bytes(20_999))),
    refusals.InputMismatch: (SECRET, lambda s: unfit(s, bytes(21_000))),
    refusals.InputKnown: ({}, lambda s: s.refused(BOB, moves.RequestInput(s.key))),
    refusals.InputRequestedAlready: (SECRET, requested_twice),
    refusals.InputNotRequested: (SECRET, lambda s: s.refused(MALLORY, moves.RevealInput(s.key, input_of(TRACE)))),
    refusals.InputPending: (SECRET, pending),
    refusals.ListKnown: ({}, listed_twice),
    refusals.ListMismatch: (EAGER, other_list),
    refusals.ListInconsistent: ({}, lambda s: s.refused(MALLORY, moves.RevealList(s.key, other_roots(s)))),
    refusals.ListConsistent: (EAGER, lambda s: s.refused(BOB, moves.ProveList(s.key, s.trace.roots))),
    refusals.TraceNotPublished: (LIE, prove_in_one),
    refusals.NotTheChallengersTurn: ({}, lambda s: s.refused(BOB, moves.PickOperator(s.open(), 0, ZERO))),
    refusals.AnotherPosition: ({}, lambda s: s.refused(MALLORY, s.top(s.picked(), position=Position(DOUBLE, 1, 20)))),
    refusals.NodeOutside: ({**LIE, **EAGER}, lambda s: prove_in_one(s, operator=3)),
    refusals.NodeKnown: ({}, reveal_twice),
    refusals.ChildrenMalformed: ({}, lambda s: s.refused(MALLORY, s.top(s.picked(), children=children(s, 31)))),
    refusals.NodeMismatch: (
        {},
        lambda s: s.refused(MALLORY, s.top(s.picked(), children=(ZERO, *s.trace.children(TOP)[1:]))),
    ),
    refusals.PaddingNotEmpty: ({}, with_padding),
    refusals.LeafMalformed: ({}, leaf_length),
    refusals.ChildOutside: ({}, lambda s: s.refused(BOB, s.pick(s.descended(), 32))),
    refusals.ChildIsPadding: ({}, lambda s: s.refused(BOB, s.pick(s.descended(), 21))),
    refusals.NotAtALeaf: ({}, lambda s: s.refused(BOB, s.proof(s.descended(), 0, position=TOP))),
    refusals.AtALeaf: (
        {},
        lambda s: s.refused(BOB, moves.PickChild(s.at_leaf(), Position(DOUBLE, 0, 41), 0, ZERO)),
    ),
    refusals.ElementOutside: (LIE, lambda s: s.refused(BOB, s.proof(s.at_leaf(), 0))),
    refusals.OpeningRejected: (LIE, bad_opening),
    refusals.OpeningMissing: (LIE, lambda s: s.refused(BOB, s.proof(s.at_leaf(), LAST, openings=()))),
    refusals.StepAgrees: (LIE, lambda s: s.refused(BOB, s.proof(s.at_leaf(), LAST - 1))),
    refusals.ClockRunning: ({}, lambda s: s.refused(BOB, moves.ClaimTimeout(s.open()))),
    refusals.ClockExpired: ({}, late),
    refusals.NotEscalating: ({}, lambda s: s.refused(BOB, moves.Escalate(s.key, ONE))),
    refusals.EscalationRefused: (
        {"terms": replace(TERMS, escalated_window_s=1, escalation=b"\1" * 32)},
        lambda s: s.refused(BOB, moves.Escalate(s.key, ONE)),
    ),
    refusals.RivalUndecided: ({}, rival_undecided),
    refusals.NothingToWithdraw: ({}, withdrawn_twice),
}


@pytest.mark.parametrize("error", CASES, ids=lambda error: error.__name__)
def test_it_is_refused(error: Refusal) -> None:
    options, case = CASES[error]
    assert case(Scene(**options)) is error  # type: ignore[arg-type]


def test_a_constant_cannot_be_picked() -> None:
    from tests.backends.optimistic.dispute_world import shipped

    trace = honest(shipped("breast-cancer-mlp"))
    world = World(trace.graph)
    dispute = world.challenge(BOB, key := world.make(ALICE, trace))
    world.defend(ALICE, key, trace)
    constant = next(i for i, node in enumerate(trace.graph.nodes) if node.primitive == "constant")
    move = moves.PickOperator(dispute, constant, trace.roots[constant])
    assert world.refused(BOB, move) is refusals.OperatorGiven


def test_every_refusal_is_shown() -> None:
    every = {c for _, c in inspect.getmembers(refusals, inspect.isclass) if issubclass(c, refusals.MoveRefused)}
    assert every - {refusals.MoveRefused, refusals.OperatorGiven} == set(CASES)


def test_a_claim_of_another_contract_has_another_name() -> None:
    claim = Claim(ZERO, ZERO, ZERO, ZERO)
    move = moves.Assert(claim, ZERO)
    names = {
        move.id(1, ALICE, BOB),
        move.id(2, ALICE, BOB),
        move.id(1, MALLORY, BOB),
        move.id(1, ALICE, MALLORY),
        replace(move, nonce=1).id(1, ALICE, BOB),
        replace(move, trace=b"\1" * 32).id(1, ALICE, BOB),
        replace(move, terms=b"\1" * 32).id(1, ALICE, BOB),
        replace(move, claim=replace(claim, context=b"\1" * 32)).id(1, ALICE, BOB),
    }
    assert len(names) == 8


def test_the_lie_at_the_last_leaf_is_proved() -> None:
    scene = Scene(lie=LAST)
    dispute = scene.at_leaf()
    scene.attack(BOB, dispute, difference(TRACE))
    assert scene.wealth(BOB) == TERMS.slash_reward


def test_refusals_are_named_like_the_contracts_errors() -> None:
    every = {c for _, c in inspect.getmembers(refusals, inspect.isclass) if issubclass(c, refusals.MoveRefused)}
    assert every - {refusals.MoveRefused} == set(CONTRACT_ERRORS)
    declared = set(re.findall(r"^    error (\w+)\(", (CONTRACTS / "interfaces" / "IDisputeGame.sol").read_text(), re.M))
    declared -= CONTRACT_ONLY.keys()
    own = {refusal.__name__ for refusal in CONTRACT_ERRORS}
    assert declared <= own
    everywhere = "\n".join(path.read_text() for path in sorted(CONTRACTS.rglob("*.sol")))
    for refusal, errors in CONTRACT_ERRORS.items():
        assert (refusal.__name__ in declared) <= (refusal.__name__ in errors), refusal
        assert all(f"error {error}(" in everywhere for error in errors), refusal


def test_reasons_are_the_contracts() -> None:
    interface = (CONTRACTS / "interfaces" / "IDisputeGame.sol").read_text()
    declared = re.search(r"enum Reason \{([^}]*)\}", interface)
    assert declared is not None
    assert [name.strip() for name in declared[1].split(",")] == list(REASONS.values())
    own = "\n".join((SOURCES / name).read_text() for name in ("game.py", "disputes.py"))
    assert all(f'"{reason}"' in own for reason in REASONS)
