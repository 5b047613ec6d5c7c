"""Stored inputs, stronger proofs, settling among many, whom a reveal serves, and lists that no honest player makes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.backends.optimistic.dispute_world import (
    ALICE,
    BOB,
    CAROL,
    MALLORY,
    TERMS,
    World,
    admit_all,
    difference,
    flipped,
    honest,
    shipped,
    slashed,
    tall,
    with_false_output,
)
from vml.backends.optimistic import moves, refusals
from vml.backends.optimistic.board import turn
from vml.backends.optimistic.records import Position, Result, Side, Status, Terms
from vml.backends.optimistic.strategy import asserter_moves, challenger_move, fraud
from vml.merkle import tensor_root, trace_root

X, DOUBLE, TOTAL = range(3)
TRACE = honest(tall())
LIAR = with_false_output(TRACE, tall()[1], {DOUBLE: flipped(TRACE.tensor(DOUBLE), 20_000)})
MODEL = TRACE.graph.commitment
TOP = Position(DOUBLE, 6, 0)
SELECTOR = b"\0\0\0\1"
ESCALATING = replace(TERMS, escalated_window_s=50, escalation=b"\7" * 32)


def world() -> World:
    return World(TRACE.graph, terms=ESCALATING, escalations=admit_all)


# ---- inputs that anyone stored ---------------------------------------------------------------------------------------


def test_an_assertion_on_a_stored_input_has_it() -> None:
    w = world()
    before = w.make(ALICE, TRACE, give_input=False)
    for _ in range(2):
        w.do(CAROL, moves.StoreInput(MODEL, TRACE.input_bytes()))
    after = w.make(ALICE, TRACE, give_input=False, nonce=1)
    w.do(ALICE, empty := moves.Assert(TRACE.claim(), ESCALATING.digest(), 2, input=()))
    for key in (after, empty.id(1, b"\x01" * 20, ALICE)):
        assert w.assertion(key).input == TRACE.input_bytes()
        assert w.refused(BOB, moves.RequestInput(key)) is refusals.InputKnown
    w.do(BOB, moves.RequestInput(before))  # made before: it owes an answer as ever
    assert w.defend(ALICE, before, TRACE) == 1
    assert w.state.published == {(MODEL, TRACE.claim().input): TRACE.input_bytes()}


def test_an_input_is_stored_for_one_model() -> None:
    other = honest(shipped("breast-cancer-mlp"))
    w = World(TRACE.graph, other.graph)
    w.do(CAROL, moves.StoreInput(MODEL, TRACE.input_bytes()))
    move = moves.Assert(replace(TRACE.claim(), model=other.graph.commitment), TERMS.digest())
    w.do(MALLORY, move)
    assert w.assertion(move.id(1, b"\x01" * 20, MALLORY)).input is None
    assert w.refused(CAROL, moves.StoreInput(bytes(32), TRACE.input_bytes())) is refusals.GraphUnknown
    assert w.refused(CAROL, moves.StoreInput(MODEL, ())) is refusals.InputCount
    assert w.refused(CAROL, moves.StoreInput(MODEL, (bytes(20_999),))) is refusals.TensorSize
    assert w.refused(CAROL, moves.StoreInput(MODEL, TRACE.input_bytes()), 1) is refusals.WrongValue


def test_the_asserters_own_input_is_not_stored_for_others() -> None:
    w = world()
    w.make(ALICE, TRACE)
    assert not w.state.published
    assert w.assertion(w.make(ALICE, TRACE, give_input=False, nonce=1)).input is None


def test_a_trace_of_zeros_is_none() -> None:
    w = world()
    move = moves.Assert(TRACE.claim(), ESCALATING.digest(), trace=bytes(32))
    w.do(ALICE, move)
    key = move.id(1, b"\x01" * 20, ALICE)
    assert key == replace(move, trace=None).id(1, b"\x01" * 20, ALICE)
    assert w.refused(BOB, moves.ProveList(key, TRACE.roots)) is refusals.TraceNotPublished


# ---- stronger proofs -------------------------------------------------------------------------------------------------


def test_a_stronger_proof_leaves_the_shorter_window() -> None:
    w = world()
    key = w.make(ALICE, TRACE)
    w.wait(100)
    w.do(CAROL, moves.Escalate(key, SELECTOR))
    assert w.assertion(key).closes_at == w.now + 50
    assert w.refused(CAROL, moves.Escalate(key, SELECTOR)) is refusals.NotEscalating
    w.wait(51)
    assert w.refused(BOB, moves.Challenge(key, bytes(32))) is refusals.WindowClosed
    assert w.defend(ALICE, key, TRACE) == 1
    assert w.assertion(key).status is Status.FINAL


def test_a_stronger_proof_does_not_lengthen_a_window_or_open_one() -> None:
    w = world()
    key = w.make(ALICE, TRACE)
    closes_at = w.assertion(key).closes_at
    w.wait(TERMS.window_s - 10)
    w.do(CAROL, moves.Escalate(key, SELECTOR))
    assert w.assertion(key).closes_at == closes_at
    late = w.make(ALICE, TRACE, nonce=1)
    w.wait(TERMS.window_s)
    assert w.refused(CAROL, moves.Escalate(late, SELECTOR), 1) is refusals.WrongValue
    w.wait(1)
    assert w.refused(CAROL, moves.Escalate(late, SELECTOR)) is refusals.WindowClosed


def test_disputes_go_on_after_a_stronger_proof_and_a_hidden_input_opens_the_shorter_window() -> None:
    w = world()
    key = w.make(MALLORY, LIAR, give_input=False)
    w.do(CAROL, moves.Escalate(key, SELECTOR))  # the backend is broken: it proved what is false
    w.wait(50)
    w.do(BOB, moves.RequestInput(key))
    w.wait(TERMS.asserter_clock_s)
    w.defend(MALLORY, key, LIAR)
    assert w.assertion(key).closes_at == w.now + 50
    w.wait(50)
    w.fight(MALLORY, key, LIAR, BOB, difference(TRACE))
    assert slashed(w, key)


def test_only_terms_and_rules_that_know_stronger_proofs_take_them() -> None:
    for w in (
        World(TRACE.graph, escalations=admit_all),
        World(TRACE.graph, terms=ESCALATING, escalations=None),
    ):
        key = w.make(ALICE, TRACE)
        assert w.refused(ALICE, moves.Escalate(key, SELECTOR)) is refusals.NotEscalating
    w = World(TRACE.graph, terms=ESCALATING)
    key = w.make(ALICE, TRACE)
    assert w.refused(ALICE, moves.Escalate(key, SELECTOR)) is refusals.EscalationRefused
    assert not w.assertion(key).escalated


# ---- settling among many ---------------------------------------------------------------------------------------------


def test_settling_goes_from_the_newest_and_remembers_where_it_is() -> None:
    w = world()
    keys = [w.make(ALICE, TRACE, nonce=n) for n in range(4)]
    w.wait(TERMS.window_s + 1)
    late = w.make(MALLORY, LIAR)
    w.do(CAROL, moves.Settle(keys[1], 0))
    assert w.assertion(keys[1]).cursor == late
    w.make(MALLORY, LIAR, nonce=1)  # made after the walk began: never seen
    w.do(CAROL, moves.Settle(keys[1], 2))  # the late one does not matter, but it counts
    assert w.assertion(keys[1]).cursor == keys[2]
    w.do(CAROL, moves.Settle(keys[1], 2))
    assert w.assertion(keys[1]).cursor == keys[0]
    w.do(CAROL, moves.Settle(keys[1], 1))
    assert w.assertion(keys[1]).status is Status.FINAL


def test_a_rival_seen_in_an_earlier_call_counts() -> None:
    w = world()
    first, rival, last = w.make(ALICE, TRACE), w.make(MALLORY, LIAR), w.make(ALICE, TRACE, nonce=1)
    w.wait(TERMS.window_s + 1)
    w.do(CAROL, moves.Settle(first, 2))
    assert w.assertion(first).contradicted
    w.do(CAROL, moves.Settle(first, 1))
    w.do(CAROL, moves.Settle(last))
    w.do(CAROL, moves.Settle(rival))
    assert {w.assertion(key).status for key in (first, rival, last)} == {Status.VOID}


def test_an_honest_asserter_does_not_settle_before_its_rivals_are_decided() -> None:
    w = world()
    w.wait(10)
    key = w.make(ALICE, TRACE)
    w.wait(TERMS.window_s)
    false = w.make(MALLORY, LIAR)
    w.wait(1)
    assert list(asserter_moves(w.state, key, TRACE, w.now)) == []
    assert w.refused(ALICE, moves.Settle(key)) is refusals.RivalUndecided
    w.fight(MALLORY, false, LIAR, BOB, difference(TRACE))
    assert list(asserter_moves(w.state, key, TRACE, w.now)) == [moves.Settle(key)]


def test_assertions_under_other_terms_are_no_rivals() -> None:
    """Anybody offers any terms: without a bond, or with a window that nobody lives to see closed."""
    w = world()
    key = w.make(ALICE, TRACE)
    endless = Terms((1 << 32) - 1, 1, 1, 0, 0, 0, 0, 0, 0)
    w.rules = replace(w.rules, terms={**w.rules.terms, endless.digest(): endless})
    w.do(MALLORY, moves.Assert(LIAR.claim(), endless.digest()), 0)
    w.wait(TERMS.window_s + 1)
    w.defend(ALICE, key, TRACE)
    assert w.assertion(key).status is Status.FINAL


# ---- reveals and who they serve --------------------------------------------------------------------------------------


def test_what_one_dispute_has_asked_for_serves_all_and_is_not_taken_again() -> None:
    w = world()
    key = w.make(ALICE, TRACE)
    disputes = [w.challenge(who, key) for who in (BOB, MALLORY)]
    assert w.defend(ALICE, key, TRACE) == 1  # one list for both
    for dispute, who in zip(disputes, (BOB, MALLORY), strict=True):
        w.do(who, moves.PickOperator(dispute, DOUBLE, TRACE.roots[DOUBLE]))
    reveal = moves.RevealNode(disputes[0], TOP, TRACE.children(TOP))
    assert list(asserter_moves(w.state, key, TRACE, w.now)) == [reveal]
    w.do(ALICE, reveal)
    for dispute in disputes:
        assert turn(w.assertion(key), w.dispute(dispute), w.now).side is Side.CHALLENGER
        assert w.refused(ALICE, replace(reveal, dispute=dispute)) is refusals.NodeKnown
    assert w.refused(BOB, moves.PickOperator(disputes[0], X, TRACE.roots[X])) is refusals.AnotherPosition


def test_a_reveal_answers_only_a_dispute_that_is_open_and_asks_for_it() -> None:
    w = world()
    key = w.make(ALICE, TRACE)
    dispute, other = w.challenge(BOB, key), w.challenge(MALLORY, key)
    reveal = moves.RevealNode(dispute, TOP, TRACE.children(TOP))
    assert w.refused(ALICE, reveal) is refusals.AnotherPosition
    w.defend(ALICE, key, TRACE)
    w.do(BOB, moves.PickOperator(dispute, DOUBLE, TRACE.roots[DOUBLE]))
    assert w.refused(ALICE, replace(reveal, dispute=other)) is refusals.AnotherPosition
    assert w.refused(ALICE, replace(reveal, dispute=bytes(32))) is refusals.DisputeUnknown
    assert w.refused(ALICE, moves.RevealLeaf(dispute, TOP, b"")) is refusals.NotAtALeaf
    w.wait(TERMS.challenger_clock_s + 1)
    w.do(ALICE, moves.ClaimTimeout(other))
    assert w.refused(ALICE, replace(reveal, dispute=other)) is refusals.DisputeDecided
    assert challenger_move(w.state, other, difference(TRACE), w.now) is None


def test_picks_and_proofs_bring_what_they_answer() -> None:
    """Should a reorganisation put something else there, the move is refused."""
    w = world()
    key = w.make(MALLORY, LIAR)
    dispute, mine = w.challenge(BOB, key), difference(TRACE)
    w.defend(MALLORY, key, LIAR)
    assert w.refused(BOB, moves.PickOperator(dispute, DOUBLE, TRACE.roots[DOUBLE])) is refusals.ListMismatch
    w.attack(BOB, dispute, mine)
    while (position := w.dispute(dispute).position) is not None and w.defend(MALLORY, key, LIAR):
        move = challenger_move(w.state, dispute, mine, w.now)
        if isinstance(move, moves.PickChild):
            honest_child = TRACE.children(position)[move.child]
            assert w.refused(BOB, replace(move, digest=honest_child)) is refusals.NodeMismatch
        else:
            assert isinstance(move, moves.ProveStep)
            honest_leaf = TRACE.leaf(DOUBLE, position.index)
            assert w.refused(BOB, replace(move, data=honest_leaf)) is refusals.NodeMismatch
        w.do(BOB, move)
    assert slashed(w, key)


def test_a_challenger_out_of_time_makes_no_move() -> None:
    w = world()
    key = w.make(MALLORY, LIAR)
    dispute = w.challenge(BOB, key)
    w.defend(MALLORY, key, LIAR)
    w.wait(TERMS.challenger_clock_s + 1)
    assert challenger_move(w.state, dispute, difference(TRACE), w.now) is None
    assert w.dispute(dispute).result is Result.OPEN


# ---- lists that no honest player publishes ---------------------------------------------------------------------------


@pytest.mark.parametrize("roots", [TRACE.roots[:-1], (*TRACE.roots, bytes(32))], ids=["shorter", "longer"])
def test_a_published_list_of_another_length_is_refuted(roots: tuple[bytes, ...]) -> None:
    w = world()
    move = moves.Assert(TRACE.claim(), ESCALATING.digest(), trace=trace_root(roots))
    w.do(MALLORY, move)
    key = move.id(1, b"\x01" * 20, MALLORY)
    proof = fraud(replace(w.assertion(key), trace=LIAR.commitment()), LIAR, TRACE, w.rules.step)
    assert proof is not None
    assert w.refused(BOB, replace(proof, roots=roots, root=roots[DOUBLE])) is refusals.ListMismatch
    assert w.refused(BOB, moves.ProveList(key, ())) is refusals.ListMismatch
    assert w.refused(BOB, moves.ProveList(key, (b"short",))) is refusals.ListMismatch
    w.do(BOB, moves.ProveList(key, roots))
    assert slashed(w, key)


def test_nothing_opens_under_another_root_than_a_constant_has() -> None:
    """A published list with a false constant is refuted as a list; no step is taken on the false constant."""
    mine = honest(shipped("breast-cancer-mlp"))
    graph, step = mine.graph, World(mine.graph).rules.step
    reader = next(i for i, node in enumerate(graph.nodes) if any(ref in graph.constants for ref in node.inputs))
    constant = next(ref for ref in graph.nodes[reader].inputs if ref in graph.constants)
    values = flipped(mine.tensor(constant), 0)
    roots = tuple(tensor_root(values) if i == constant else root for i, root in enumerate(mine.roots))
    w = World(graph)
    move = moves.Assert(mine.claim(), TERMS.digest(), trace=trace_root(roots))
    w.do(MALLORY, move)
    key = move.id(1, b"\x01" * 20, MALLORY)
    output = mine.opening(reader, -1, 0)
    forged = moves.ProveFraud(key, reader, roots[reader], output, 0, mine.openings(step, reader, 0), roots)
    assert w.refused(BOB, forged) is refusals.OpeningRejected
    assert w.refused(BOB, replace(forged, operator=constant, root=roots[constant])) is refusals.OperatorGiven
    w.do(BOB, moves.ProveList(key, roots))
    assert slashed(w, key)


def test_openings_come_in_order_and_once_and_prove_nothing_of_an_honest_trace() -> None:
    w = world()
    key = w.make(ALICE, TRACE, eager=True)
    openings = difference(TRACE).openings(TOTAL, 3)
    assert len(openings) == 41  # a whole column
    leaf = TRACE.opening(TOTAL, -1, 0)
    proof = moves.ProveFraud(key, TOTAL, TRACE.roots[TOTAL], leaf, 3, openings, TRACE.roots)
    assert w.refused(MALLORY, proof) is refusals.StepAgrees
    for wrong in (openings[::-1], (openings[0], *openings)):
        assert w.refused(MALLORY, replace(proof, openings=wrong)) is refusals.OpeningRejected
    assert w.refused(MALLORY, moves.ProveList(key, TRACE.roots)) is refusals.ListConsistent
