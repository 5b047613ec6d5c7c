"""Single rules at their edges: the challenger's clock, the window's last second, forged lists and openings."""

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
    difference,
    flipped,
    honest,
    shipped,
    tall,
    with_false_output,
)
from vml.backends.optimistic import moves, refusals
from vml.backends.optimistic.board import turn
from vml.backends.optimistic.records import Position, Side
from vml.backends.optimistic.strategy import fraud

X, DOUBLE, TOTAL = range(3)
ZERO = bytes(32)
TRACE = honest(tall())
LIAR = with_false_output(TRACE, tall()[1], {DOUBLE: flipped(TRACE.tensor(DOUBLE), 20_000)})
TOP = Position(DOUBLE, 6, 0)


def asked() -> tuple[World, bytes, bytes]:
    """A dispute about a true claim, the list revealed."""
    w = World(TRACE.graph)
    key = w.make(ALICE, TRACE)
    dispute = w.challenge(MALLORY, key)
    w.defend(ALICE, key, TRACE)
    return w, key, dispute


def test_the_challengers_clock_is_a_total_and_its_last_turns_have_the_extension() -> None:
    w, key, dispute = asked()
    w.wait(TERMS.challenger_clock_s - 5)
    w.do(MALLORY, moves.PickOperator(dispute, DOUBLE, TRACE.roots[DOUBLE]))
    w.defend(ALICE, key, TRACE)
    its = turn(w.assertion(key), w.dispute(dispute), w.now)
    assert its.side is Side.CHALLENGER
    assert its.until == w.now + TERMS.extension_s  # five seconds are left, twenty are given
    w.wait(TERMS.extension_s + 1)
    assert w.refused(MALLORY, moves.PickChild(dispute, TOP, 0, ZERO)) is refusals.ClockExpired


def test_what_a_challenger_has_not_used_it_keeps() -> None:
    w, key, dispute = asked()
    w.wait(30)
    w.do(MALLORY, moves.PickOperator(dispute, DOUBLE, TRACE.roots[DOUBLE]))
    w.wait(50)
    w.defend(ALICE, key, TRACE)
    w.wait(7)
    its = turn(w.assertion(key), w.dispute(dispute), w.now)
    assert its.until == w.now - 7 + TERMS.challenger_clock_s - 30
    assert its.asserter_left_s == TERMS.asserter_clock_s - 50


def test_what_is_public_already_costs_the_asserter_no_time() -> None:
    w, key, _ = asked()
    w.wait(40)
    second = w.challenge(CAROL, key)
    its = turn(w.assertion(key), w.dispute(second), w.now)
    assert its.side is Side.CHALLENGER
    assert (its.until, its.asserter_left_s) == (w.now + TERMS.challenger_clock_s, TERMS.asserter_clock_s)


def test_the_windows_last_second_is_for_challengers_only() -> None:
    w = World(TRACE.graph)
    key = w.make(ALICE, TRACE)
    w.wait(TERMS.window_s)
    assert w.refused(ALICE, moves.Settle(key)) is refusals.WindowOpen
    w.challenge(MALLORY, key)
    w.wait(1)
    assert w.refused(MALLORY, moves.Challenge(key, b"\1" * 32)) is refusals.WindowClosed


def slander(w: World, key: bytes) -> moves.ProveFraud:
    """The proof that would do against the liar's list."""
    move = fraud(replace(w.assertion(key), trace=LIAR.commitment(), roots=None), LIAR, TRACE, w.rules.step)
    assert move is not None
    return move


@pytest.mark.parametrize("revealed", [False, True])
def test_a_forged_leaf_does_not_prove_fraud_of_an_honest_asserter(revealed: bool) -> None:
    w = World(TRACE.graph)
    key = w.make(ALICE, TRACE, eager=True)
    if revealed:
        w.challenge(MALLORY, key)
        w.defend(ALICE, key, TRACE)
    forged = slander(w, key)
    assert w.refused(MALLORY, forged) is refusals.ListMismatch
    forged = replace(forged, roots=TRACE.roots)
    assert w.refused(MALLORY, forged) is refusals.ListMismatch
    forged = replace(forged, root=TRACE.roots[DOUBLE])
    assert w.refused(MALLORY, forged) is refusals.NodeMismatch
    leaf = forged.output
    for wrong, refusal in (
        (replace(leaf, root=TRACE.tree(DOUBLE).root), refusals.NodeMismatch),
        (replace(leaf, path=leaf.path[1:]), refusals.OpeningRejected),
        (replace(leaf, data=leaf.data[1:]), refusals.LeafMalformed),
    ):
        assert w.refused(MALLORY, replace(forged, output=wrong)) is refusal


def test_forged_openings_of_the_operands_prove_nothing() -> None:
    w = World(TRACE.graph)
    key = w.make(ALICE, TRACE, eager=True)
    forged = slander(w, key)
    output = TRACE.opening(DOUBLE, -1, forged.output.leaf)
    move = replace(forged, roots=TRACE.roots, root=TRACE.roots[DOUBLE], output=output)
    assert w.refused(MALLORY, move) is refusals.StepAgrees
    one = move.openings[0]
    for wrong in (
        replace(one, data=bytes(len(one.data))),
        replace(one, operand=1),
        replace(one, operand=-1),
        replace(one, leaf=one.leaf - 1),
        replace(one, root=TRACE.tree(DOUBLE).root),
    ):
        assert w.refused(MALLORY, replace(move, openings=(wrong,))) is refusals.OpeningRejected


def test_a_list_has_one_root_for_each_operator_and_the_models_constants() -> None:
    trace = honest(shipped("breast-cancer-mlp"))
    constant = next(i for i, node in enumerate(trace.graph.nodes) if node.primitive == "constant")
    other = tuple(ZERO if i == constant else root for i, root in enumerate(trace.roots))
    for roots in (other, (*trace.roots, ZERO), trace.roots[:-1], (*trace.roots[:-1], b"short")):
        w = World(trace.graph)
        key = w.make(MALLORY, trace)
        w.challenge(BOB, key)
        assert w.refused(MALLORY, moves.RevealList(key, roots)) is refusals.ListInconsistent


def test_an_input_in_range_is_not_wrong() -> None:
    w, key, dispute = asked()
    w.do(MALLORY, moves.PickOperator(dispute, X, TRACE.roots[X]))
    w.defend(ALICE, key, TRACE)
    top = Position(X, 5, 0)
    w.do(MALLORY, moves.PickChild(dispute, top, 3, TRACE.children(top)[3]))
    w.defend(ALICE, key, TRACE)
    leaf = Position(X, 0, 3)
    proof = moves.ProveStep(dispute, leaf, TRACE.leaf(X, 3), 3 * 1024, ())
    assert w.refused(MALLORY, proof) is refusals.StepAgrees
    assert w.refused(MALLORY, replace(proof, element=-1)) is refusals.ElementOutside
    assert w.refused(MALLORY, replace(proof, element=4 * 1024)) is refusals.ElementOutside


def test_a_liar_cannot_be_saved_by_a_list_of_somebody_else() -> None:
    """Only the asserter reveals: otherwise anybody could fix an inconsistent list for an honest one."""
    w = World(TRACE.graph)
    key = w.make(MALLORY, LIAR)
    w.challenge(BOB, key)
    for move in (moves.RevealList(key, LIAR.roots), moves.RevealInput(key, ())):
        assert w.refused(CAROL, move) is refusals.NotTheAsserter
    assert w.fight(MALLORY, key, LIAR, CAROL, difference(TRACE)) == 4
