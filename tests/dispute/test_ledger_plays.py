"""Random plays, honest and not, at once in the Python game and in the contract: the same moves are taken, and the
ledger that follows the contract's events has the game's state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.optimistic.dispute_world import (
    ALICE,
    BOB,
    CAROL,
    MALLORY,
    Altered,
    difference,
    flipped,
    tall,
    with_false_output,
)
from tests.dispute.dispute_chain import TERMS, site, truth
from vml.backends.optimistic import moves, refusals
from vml.backends.optimistic.game import Rules, play
from vml.backends.optimistic.records import Call, Result, State, Status
from vml.backends.optimistic.strategy import asserter_moves, challenger_move, fraud
from vml.backends.optimistic.trace import Trace
from vml.claim import ZERO_CONTEXT, Claim, checksum_address
from vml.dispute import calls
from vml.dispute.follower import Follower
from vml.dispute.store import Store
from vml.model.onestep import step_value

EVERYBODY = (ALICE, BOB, CAROL, MALLORY)
TRUTH = truth()
X, DOUBLE, TOTAL = range(3)


class Unfitting(Altered):
    """The right claim, and a list that does not lead from its input to its output."""

    def claim(self, context: bytes = ZERO_CONTEXT) -> Claim:
        return self.honest.claim(context)


LIES = [
    with_false_output(TRUTH, tall()[1], {DOUBLE: flipped(TRUTH.tensor(DOUBLE), 700)}),
    with_false_output(TRUTH, tall()[1], {}),
    Altered(TRUTH, tall()[1], {X: flipped(TRUTH.tensor(X), 9)}),
    Unfitting(TRUTH, tall()[1], {X: flipped(TRUTH.tensor(X), 9)}),
]
MOVES = 70


class Both:
    """One game in two places."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.site = site()
        self.chain = self.site.chain(None)
        self.follower = Follower(self.chain, self.site.game, Store(None), remembered=16)
        self.follower.sync()
        contract = bytes.fromhex(self.site.game[2:])
        graph = self.site.graph
        self.rules = Rules(
            self.chain.chain_id, contract, {graph.commitment: graph}, {TERMS.digest(): TERMS}, step_value
        )
        self.state = State()
        self.traces: dict[bytes, Trace] = {}
        self.taken: list[str] = []
        self.refused: list[str] = []

    def do(self, who: bytes, move: moves.Move, value: int | None = None) -> bool:
        """One move in both; returns whether it was taken."""
        try:
            made = calls.call(self.follower.ledger, move, self.site.graph, who)
        except (KeyError, ValueError, IndexError):
            return False  # about something that is not there
        request = {
            "from": checksum_address(who),
            "to": self.site.game,
            "data": "0x" + made.data().hex(),
            "value": hex(made.value if value is None else value),
            "gas": hex(16_000_000),
        }
        digest = self.chain.rpc.ask("eth_sendTransaction", request)
        mined = self.chain.rpc.ask("eth_getTransactionReceipt", digest)["status"] == "0x1"
        call = Call(who, self.site.now(), made.value if value is None else value)
        try:
            self.state = play(self.rules, self.state, call, move).state
            taken = True
        except refusals.MoveRefused as error:
            taken = False
            self.refused.append(type(error).__name__)
        assert mined == taken, (move, self.refused[-1:])
        if taken:
            self.taken.append(type(move).__name__)
        self.follower.sync()
        ledger = self.follower.ledger.state
        assert replace(ledger, now=0) == replace(self.state, now=0)
        return taken

    # What somebody might do.

    def candidates(self) -> Iterator[tuple[bytes, moves.Move]]:
        rng, now = self.random, self.site.now()
        state = self.state
        yield self.some_assertion()
        for key, assertion in state.assertions.items():
            trace = self.traces[key]
            yield BOB, moves.Challenge(key, rng.randrange(3).to_bytes(32, "big"))
            yield rng.choice(EVERYBODY), moves.RequestInput(key)
            yield assertion.asserter, moves.RevealInput(key, rng.choice([trace, LIES[2], TRUTH]).input_bytes())
            yield CAROL, moves.ClaimInputTimeout(key)
            yield rng.choice(EVERYBODY), moves.Settle(key, rng.randrange(1, 4))
            yield CAROL, moves.ProveList(key, trace.roots)
            proof = fraud(assertion, trace, TRUTH, step_value)
            if proof is not None:
                yield CAROL, proof
            for move in asserter_moves(state, key, trace, now):
                yield assertion.asserter if rng.random() < 0.9 else MALLORY, move
        for key, dispute in state.disputes.items():
            yield CAROL, moves.ClaimTimeout(key)
            yield CAROL, moves.CloseMoot(key)
            if dispute.result is not Result.OPEN:
                continue
            best = challenger_move(state, key, difference(TRUTH, step_value), now)
            if best is not None:
                yield dispute.challenger, best
            yield dispute.challenger, self.wild(key)
        yield rng.choice(EVERYBODY), moves.Withdraw()
        yield rng.choice(EVERYBODY), moves.StoreInput(self.site.graph.commitment, TRUTH.input_bytes())

    def some_assertion(self) -> tuple[bytes, moves.Assert]:
        rng, who = self.random, self.random.choice(EVERYBODY)
        trace: Trace = rng.choice([TRUTH, *LIES])
        shown = rng.choice([None, None, trace.commitment(), trace.commitment(), bytes([7]) * 32])
        data = trace.input_bytes() if rng.random() < 0.4 else None
        move = moves.Assert(trace.claim(), TERMS.digest(), rng.randrange(3), shown, data)
        self.traces.setdefault(move.id(self.rules.chain_id, self.rules.contract, who), trace)
        return who, move

    def wild(self, key: bytes) -> moves.Move:
        """A challenger's move without a reason."""
        rng, dispute = self.random, self.state.disputes[key]
        assertion = self.state.assertions[dispute.assertion]
        position = dispute.position
        if position is None or position not in assertion.reveals:
            operator = rng.randrange(3)
            root = assertion.roots[operator] if assertion.roots else bytes(32)
            return moves.PickOperator(key, operator, root)
        content = assertion.reveals[position].content
        if position.height:
            child = rng.randrange(len(content))
            return moves.PickChild(key, position, child, content[child])
        element = position.index * (1024 // 4) + rng.randrange(8)
        openings = () if position.operator == X else TRUTH.openings(step_value, position.operator, element)
        return moves.ProveStep(key, position, content[0], element, openings)

    def legal(self, who: bytes, move: moves.Move) -> bool:
        bonds = {moves.Assert: TERMS.asserter_bond}
        bonds |= dict.fromkeys([moves.Challenge, moves.RequestInput], TERMS.challenger_bond)
        try:
            play(self.rules, self.state, Call(who, self.site.now() + 12, bonds.get(type(move), 0)), move)
        except refusals.MoveRefused:
            return False
        return True

    def step(self) -> None:
        if self.random.random() < 0.1:
            self.site.node.tick(self.random.choice([10, 199, 199, 3_000, 5_000, 21_000]))
        some = list(self.candidates())
        if self.random.random() < 0.75:
            some = [each for each in some if self.legal(*each)] or some
        kinds = sorted({type(move).__name__ for _, move in some})
        kind = self.random.choices(kinds, [4 if name.startswith(("Pick", "Reveal", "Prove")) else 1 for name in kinds])[
            0
        ]
        who, move = self.random.choice([each for each in some if type(each[1]).__name__ == kind])
        value = 5 if self.random.random() < 0.03 else None
        self.do(who, move, value)


def dispute(both: Both, trace: Trace) -> Status:
    """One assertion, disputed at once and played to its end by both sides."""
    move = moves.Assert(trace.claim(), TERMS.digest(), 9, None, trace.input_bytes())
    key = move.id(both.rules.chain_id, both.rules.contract, ALICE)
    assert both.do(ALICE, move)
    assert both.do(BOB, moves.Challenge(key, bytes(32)))
    while both.state.assertions[key].status is Status.OPEN:
        now, done = both.site.now(), False
        for answer in asserter_moves(both.state, key, trace, now):
            done = both.do(ALICE, answer) or done
        for open_dispute in both.state.disputes:
            best = challenger_move(both.state, open_dispute, difference(TRUTH, step_value), now)
            done = (best is not None and both.do(BOB, best)) or done
        if not done:
            both.site.node.tick(4_000)
    return both.state.assertions[key].status


def withhold(both: Both) -> None:
    """An assertion whose input nobody ever sees."""
    move = moves.Assert(LIES[2].claim(), TERMS.digest(), 8)
    key = move.id(both.rules.chain_id, both.rules.contract, MALLORY)
    assert both.do(MALLORY, move)
    assert both.do(BOB, moves.RequestInput(key))
    both.site.node.tick(TERMS.asserter_clock_s)
    assert both.do(CAROL, moves.ClaimInputTimeout(key))


def contradict(both: Both) -> None:
    """Two outputs for one question, and nobody who disputes."""
    keys = []
    for who, trace in ((ALICE, TRUTH), (CAROL, LIES[1])):
        move = moves.Assert(trace.claim(bytes([3]) * 32), TERMS.digest(), 0, None, trace.input_bytes())
        keys.append(move.id(both.rules.chain_id, both.rules.contract, who))
        assert both.do(who, move)
    both.site.node.tick(TERMS.window_s)
    assert both.do(BOB, moves.Settle(keys[0], 1))
    assert both.do(BOB, moves.Settle(keys[0]))
    assert both.state.assertions[keys[0]].status is Status.VOID


@pytest.mark.parametrize("seed", range(4))
def test_ledger_and_game_agree(seed: int) -> None:
    both = Both(seed)
    for _ in range(MOVES):
        both.step()
    assert len(both.taken) > MOVES // 4


def test_the_plays_reach_every_move_and_end() -> None:
    """What is compared above is not only the easy part."""
    taken: set[str] = set()
    ends: set[Any] = set()
    for seed in range(100, 107):
        both = Both(seed)
        for _ in range(MOVES):
            both.step()
        if seed == 100:
            for trace in (TRUTH, LIES[0]):
                dispute(both, trace)
            withhold(both)
            contradict(both)
        taken |= set(both.taken)
        ends |= {a.status for a in both.state.assertions.values()} | {d.result for d in both.state.disputes.values()}
    every = {kind.__name__ for kind in moves.Move.__args__}  # type: ignore[attr-defined]
    assert taken >= every - {"Escalate"}
    assert ends >= {*Status, *Result}
