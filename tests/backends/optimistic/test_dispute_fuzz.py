"""Stateful fuzzing: adversaries on both sides move as they like, in any order and at any second.

Alice asserts honestly, Bob challenges honestly: both move in time and only as `strategy` says, and none of their moves
is refused unless somebody made it first. Everybody else does anything: false assertions of many kinds, sham disputes,
stalls, wrong leaves, headers and lists, duplicates, moves at the last second, front-run copies of honest moves, inputs
stored before and after, and false claims "proved" by a broken backend that shortens windows. After every step money is
conserved; in the end Alice has lost nothing, Bob has lost nothing in his disputes, no false output is final, and
everything has ended in bounded time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.backends.optimistic.dispute_step import step
from tests.backends.optimistic.dispute_world import (
    ALICE,
    BOB,
    CAROL,
    MALLORY,
    TERMS,
    Altered,
    World,
    admit_all,
    difference,
    flipped,
    honest,
    tall,
    with_false_output,
)
from vml.backends.optimistic import moves, refusals
from vml.backends.optimistic.board import turn
from vml.backends.optimistic.game import play
from vml.backends.optimistic.records import Call, Position, Result, Side, Status, dispute_id
from vml.backends.optimistic.strategy import asserter_moves, challenger_move, fraud
from vml.merkle import ITEM_BYTES

X, DOUBLE, TOTAL = range(3)
TRACE = honest(tall())
MINE = difference(TRACE)
BAD = (MALLORY, CAROL)
INPUTS = (TRACE.input_bytes(), (bytes(21_000),), (bytes(20_999),), ())
PLACES = (0, 511, 512, 20_000, 20_999)


def liar(operator: int, place: int) -> Altered:
    values = TRACE.tensor(operator)
    return with_false_output(TRACE, tall()[1], {operator: flipped(values, place % values.size)})


LIARS = [liar(DOUBLE, place) for place in PLACES] + [liar(TOTAL, 0), liar(TOTAL, 17)]
INCONSISTENT = with_false_output(TRACE, tall()[1], {})  # publishes the honest list beside a false output
for trace in (*LIARS, INCONSISTENT):
    _ = trace.roots, TRACE.roots

GAME_TERMS = replace(TERMS, escalated_window_s=5, escalation=b"\x09" * 32)

# One second is more than an honest player needs: it is asked after every tick.
TICKS = st.sampled_from([1, 1, 2, 2, 5, 19, 20, 21, 199, 200, 201, 299, 300, 301, 999, 1000, 1001])
BOUND_S = 2 * TERMS.window_s + 2 * TERMS.asserter_clock_s + TERMS.challenger_clock_s + 9 * TERMS.extension_s


class Game(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(TRACE.graph, terms=GAME_TERMS, escalations=admit_all)
        self.nonce = 0
        self.true: list[bytes] = []
        self.lies: dict[bytes, Altered] = {}
        self.patience: dict[bytes, int] = {}  # answers that a liar still gives by itself
        self.copied: list[moves.Move] = []

    # What honest players do, after everything that happens.

    def everybody_moves(self) -> None:
        """The honest ones, and liars as long as they think it worth while."""
        self.honest_moves()
        for key, left in self.patience.items():
            if left:
                made = list(asserter_moves(self.world.state, key, self.lies[key], self.world.now))
                for move in made:
                    self.attempt(self.world.assertion(key).asserter, move)
                self.patience[key] = left - bool(made)
        self.honest_moves()

    def honest_moves(self) -> None:
        w = self.world
        for key in self.true:
            for move in list(asserter_moves(w.state, key, TRACE, w.now)):
                if isinstance(move, moves.Settle):
                    play(w.rules, w.state, Call(ALICE, w.now), move)  # it would be taken, but patience: the end settles
                    continue
                self.front_run(move)
                if move in asserter_moves(w.state, key, TRACE, w.now):
                    w.do(ALICE, move)
        for key in self.lies:
            assertion = w.assertion(key)
            mine = dispute_id(key, BOB, bytes(32))
            if mine not in w.state.disputes:
                if assertion.status is Status.OPEN and w.now <= assertion.closes_at:
                    self.front_run(moves.Challenge(key, bytes(32)))
                    w.challenge(BOB, key)
                continue
            move = challenger_move(w.state, mine, MINE, w.now)
            if move is not None:
                self.front_run(move)
                if w.dispute(mine).result is Result.OPEN:
                    again = challenger_move(w.state, mine, MINE, w.now)
                    if again is not None:
                        w.do(BOB, again)

    def front_run(self, move: moves.Move) -> None:
        """Somebody sees an honest move and sends the same one first, or keeps it for later."""
        self.copied = [*self.copied[-8:], move]
        if self.nonce % 3 == 0:
            self.attempt(MALLORY, move)

    def attempt(self, who: bytes, move: moves.Move, value: int | None = None) -> None:
        try:
            self.world.do(who, move, value)
        except refusals.MoveRefused:
            return

    # What adversaries do.

    @rule(eager=st.booleans(), give=st.booleans())
    def assert_truly(self, eager: bool, give: bool) -> None:
        self.nonce += 1
        if len(self.true) < 3:
            self.true.append(self.world.make(ALICE, TRACE, eager=eager, give_input=give, nonce=self.nonce))

    @rule(
        who=st.sampled_from(BAD),
        lie=st.sampled_from([INCONSISTENT, INCONSISTENT, *LIARS]),
        eager=st.booleans(),
        give=st.booleans(),
        patience=st.integers(0, 6),
    )
    def assert_falsely(self, who: bytes, lie: Altered, eager: bool, give: bool, patience: int) -> None:
        self.nonce += 1
        if len(self.lies) >= 4:
            return
        if lie is INCONSISTENT:
            move = moves.Assert(lie.claim(), GAME_TERMS.digest(), self.nonce, TRACE.commitment() if eager else None)
            self.world.do(who, move)
            key = move.id(1, b"\x01" * 20, who)
        else:
            key = self.world.make(who, lie, eager=eager, give_input=give, nonce=self.nonce)
        self.lies[key], self.patience[key] = lie, patience
        self.everybody_moves()

    @rule(who=st.sampled_from(BAD), codes=st.sampled_from(INPUTS))
    def store(self, who: bytes, codes: tuple[bytes, ...]) -> None:
        self.attempt(who, moves.StoreInput(TRACE.graph.commitment, codes))

    @precondition(lambda self: self.true or self.lies)
    @rule(data=st.data(), who=st.sampled_from(BAD))
    def escalate(self, data: st.DataObject, who: bytes) -> None:
        """The backend is broken: honest players lose nothing while the window that is left is long enough to see it."""
        self.attempt(who, moves.Escalate(data.draw(st.sampled_from([*self.true, *self.lies])), b"\0\0\0\1"))
        self.honest_moves()

    @precondition(lambda self: self.true or self.lies)
    @rule(data=st.data(), who=st.sampled_from(BAD), salt=st.integers(0, 2))
    def sham_dispute(self, data: st.DataObject, who: bytes, salt: int) -> None:
        self.nonce += 1
        key = data.draw(st.sampled_from([*self.true, *self.lies]))
        self.attempt(who, moves.Challenge(key, salt.to_bytes(32, "big")))
        self.honest_moves()

    @precondition(lambda self: self.true or self.lies)
    @rule(data=st.data(), who=st.sampled_from(BAD))
    def request(self, data: st.DataObject, who: bytes) -> None:
        key = data.draw(st.sampled_from([*self.true, *self.lies]))
        self.attempt(who, moves.RequestInput(key))
        if data.draw(st.booleans()):
            self.honest_moves()

    @precondition(lambda self: self.lies)
    @rule(data=st.data(), well=st.booleans())
    def liar_answers(self, data: st.DataObject, well: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.lies)))
        who = self.world.assertion(key).asserter
        for move in list(asserter_moves(self.world.state, key, self.lies[key], self.world.now)):
            self.attempt(who, move if well else spoiled(move, data))
        self.honest_moves()

    @precondition(lambda self: self.shams())
    @rule(data=st.data(), turns=st.integers(1, 5), wild=st.booleans())
    def sham_pick(self, data: st.DataObject, turns: int, wild: bool) -> None:
        """A sham dispute goes on, to the leaf if it likes, past positions that do not exist if it is wild."""
        key = data.draw(st.sampled_from(self.shams()))
        for _ in range(turns):
            move = self.sham_move(key, data, -1 if wild else 0)
            for who in (*BAD, BOB) if isinstance(move, moves.ProveStep) else BAD:
                if move is not None:
                    self.attempt(who, move)
            self.everybody_moves()

    def shams(self) -> list[bytes]:
        disputes = self.world.state.disputes.values()
        return sorted(d.id for d in disputes if d.challenger != BOB and d.result is Result.OPEN)

    def sham_move(self, key: bytes, data: st.DataObject, out: int) -> moves.Move | None:
        dispute = self.world.dispute(key)
        assertion, position = self.world.assertion(dispute.assertion), dispute.position
        if position is None:
            roots = assertion.roots or self.lies.get(assertion.id, TRACE).roots
            operator = data.draw(st.integers(out, 2 - out))
            return moves.PickOperator(key, operator, roots[operator % 3])
        if position not in assertion.reveals:
            return None
        shown = assertion.reveals[position].content
        if position.height:
            child = data.draw(st.integers(out, len(shown) - 1 - 2 * out))
            return moves.PickChild(key, position, child, shown[child % len(shown)])
        header = TRACE.graph.nodes[position.operator].header
        items = 1024 // ITEM_BYTES[header.dtype]
        place = position.index * items + data.draw(st.integers(2 * out, 3))
        openings = TRACE.openings(step, position.operator, place) if 0 <= place < header.size else ()
        return moves.ProveStep(key, position, shown[0], place, openings)

    @precondition(lambda self: self.lies)
    @rule(data=st.data())
    def one_move(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([*self.true, *self.lies]))
        lie = self.lies.get(key, LIARS[0])
        move = fraud(self.world.assertion(key), lie, TRACE, step)
        if move is not None and data.draw(st.booleans()):
            self.attempt(CAROL, replace(move, root=TRACE.roots[move.operator]))
            self.world.do(CAROL, move)
        for roots in (TRACE.roots, lie.roots, lie.roots[1:], ()):
            self.attempt(CAROL, moves.ProveList(key, roots))

    @precondition(lambda self: self.copied)
    @rule(data=st.data(), who=st.sampled_from(BAD))
    def duplicate(self, data: st.DataObject, who: bytes) -> None:
        self.attempt(who, data.draw(st.sampled_from(self.copied)))

    @rule(data=st.data())
    def anybody_closes(self, data: st.DataObject) -> None:
        for dispute in self.world.state.disputes:
            self.attempt(CAROL, data.draw(st.sampled_from([moves.ClaimTimeout, moves.CloseMoot]))(dispute))
        for key in self.world.state.assertions:
            settle = moves.Settle(key, data.draw(st.integers(0, 3)))
            self.attempt(CAROL, data.draw(st.sampled_from([settle, moves.ClaimInputTimeout(key)])))

    @rule(who=st.sampled_from((ALICE, BOB, *BAD)))
    def withdraw(self, who: bytes) -> None:
        self.attempt(who, moves.Withdraw())

    @rule(seconds=TICKS)
    def time_passes(self, seconds: int) -> None:
        """Honest players see every second in which it is their turn."""
        for part in {seconds - 1, 1} - {0}:
            self.everybody_moves()
            self.world.wait(part)
            self.everybody_moves()

    # What must hold.

    @invariant()
    def nothing_false_is_final_and_nothing_true_is_slashed(self) -> None:
        state = self.world.state
        assert all(state.assertions[key].status is not Status.SLASHED for key in self.true)
        assert all(state.assertions[key].status is not Status.FINAL for key in self.lies)
        for dispute in state.disputes.values():
            if dispute.challenger == BOB:
                assert dispute.result is not Result.LOST
                whose = turn(state.assertions[dispute.assertion], dispute, self.world.now)
                assert dispute.result is not Result.OPEN or whose.side is Side.ASSERTER or not whose.expired

    def teardown(self) -> None:
        w = self.world
        self.honest_moves()
        for _ in range(60):  # no new disputes, and liars lose patience
            w.wait(BOUND_S // 50)
            self.everybody_moves()
            self.close(CAROL)
        for assertion in w.state.assertions.values():
            assert assertion.status is not Status.OPEN, "unbounded"
            assert (assertion.status is Status.SLASHED) == (assertion.id in self.lies)
            assert assertion.status in (Status.FINAL, Status.SLASHED)
        assert all(d.result is not Result.OPEN for d in w.state.disputes.values()), "unbounded"
        assert w.state.held() == 0
        assert w.wealth(ALICE) >= 0
        assert w.wealth(BOB) >= 0
        w.check_money()

    def close(self, who: bytes) -> None:
        for dispute in self.world.state.disputes:
            self.attempt(who, moves.ClaimTimeout(dispute))
            self.attempt(who, moves.CloseMoot(dispute))
        for key in self.world.state.assertions:
            self.attempt(who, moves.ClaimInputTimeout(key))
            self.attempt(who, moves.Settle(key))


def spoiled(move: moves.Move, data: st.DataObject) -> Any:
    """The liar's own answer, made wrong in one way."""
    match move:
        case moves.RevealList():
            return replace(move, roots=data.draw(st.sampled_from([TRACE.roots, move.roots[:-1], LIARS[1].roots, ()])))
        case moves.RevealNode():
            other = TRACE.children(move.position)
            longer = (*move.children[:-1], bytes(32))
            return replace(move, children=data.draw(st.sampled_from([other, move.children[::-1], longer])))
        case moves.RevealLeaf():
            honest_leaf = TRACE.leaf(move.position.operator, move.position.index)
            return replace(move, data=data.draw(st.sampled_from([honest_leaf, move.data[::-1], move.data + b"\0"])))
        case moves.RevealInput():
            return replace(move, input=(bytes(len(move.input[0])),))
        case _:
            return replace(move, dispute=bytes(32)) if isinstance(move, moves.ClaimTimeout) else move


class TestGame(Game.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=30, stateful_step_count=40, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
class TestGameLong(Game.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=600, stateful_step_count=80, suppress_health_check=list(HealthCheck))


def test_the_places_of_the_lies_are_first_and_last_leaves() -> None:
    header = TRACE.graph.nodes[DOUBLE].header
    assert {place * 2 // 1024 for place in PLACES} == {0, 1, 39, 41}
    assert header.size == PLACES[-1] + 1
    assert Position(DOUBLE, 6, 0)
