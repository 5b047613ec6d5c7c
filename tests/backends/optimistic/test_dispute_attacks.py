"""Attacks on the game, one test each: what an adversary on either side, or both, gains."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from tests.backends.optimistic.dispute_world import (
    ALICE,
    BOB,
    CAROL,
    MALLORY,
    TERMS,
    Altered,
    World,
    difference,
    flipped,
    honest,
    input_of,
    slashed,
    tall,
    with_false_output,
)
from vml.backends.optimistic import moves, refusals, shapes
from vml.backends.optimistic.records import Position, Result, Status
from vml.backends.optimistic.strategy import fraud, input_complaint
from vml.keccak import keccak256
from vml.merkle import EMPTY, Tree, tensor_bytes, tensor_digest, tensor_leaf, tensor_root, tensors_root

X, DOUBLE, TOTAL = range(3)
ZERO = bytes(32)
TOP = Position(DOUBLE, 6, 0)
TRACE = honest(tall())
MINE = difference(TRACE)
LIAR = with_false_output(TRACE, tall()[1], {DOUBLE: flipped(TRACE.tensor(DOUBLE), 20_000)})


def world() -> World:
    return World(TRACE.graph)


def test_a_false_output_is_slashed_and_at_least_half_of_the_bond_burned() -> None:
    w = world()
    key = w.make(MALLORY, LIAR)
    made = w.fight(MALLORY, key, LIAR, BOB, MINE)
    assert slashed(w, key)
    assert made <= 6
    assert w.wealth(BOB) == TERMS.slash_reward
    assert w.state.burned == TERMS.asserter_bond - TERMS.slash_reward >= TERMS.asserter_bond // 2
    assert w.wealth(MALLORY) == -TERMS.asserter_bond


def test_an_honest_asserter_is_paid_for_its_defence() -> None:
    w = world()
    key = w.make(ALICE, TRACE)
    dispute = w.challenge(MALLORY, key)
    w.defend(ALICE, key, TRACE)
    w.wait(TERMS.challenger_clock_s + 1)
    w.defend(ALICE, key, TRACE)
    assert w.dispute(dispute).result is Result.LOST
    w.wait(TERMS.window_s)
    w.defend(ALICE, key, TRACE)
    assert w.assertion(key).status is Status.FINAL
    assert w.wealth(ALICE) == TERMS.defence_reward
    assert w.wealth(MALLORY) == -TERMS.challenger_bond


@pytest.mark.parametrize("stop", range(5))
def test_stalling_at_any_move_loses_by_time(stop: int) -> None:
    w = world()
    key = w.make(MALLORY, LIAR)
    dispute = w.challenge(BOB, key)
    for _ in range(stop):
        if not slashed(w, key):
            w.defend(MALLORY, key, LIAR)
            w.attack(BOB, dispute, MINE)
    w.wait(TERMS.asserter_clock_s + 1)
    if not slashed(w, key):
        w.attack(BOB, dispute, MINE)
    assert slashed(w, key)
    assert w.wealth(BOB) == TERMS.slash_reward


def test_a_late_answer_loses_though_nobody_spoke_up_in_time() -> None:
    w = world()
    key = w.make(MALLORY, LIAR)
    dispute = w.challenge(BOB, key)
    w.wait(TERMS.asserter_clock_s + 1)
    assert w.defend(MALLORY, key, LIAR) == 0  # it is of no use any more
    w.do(MALLORY, moves.RevealList(key, LIAR.roots))
    move = moves.PickOperator(dispute, DOUBLE, LIAR.roots[DOUBLE])
    assert w.refused(BOB, move) is refusals.ClockExpired
    w.wait(10 * TERMS.challenger_clock_s)
    w.do(CAROL, moves.ClaimTimeout(dispute))
    assert slashed(w, key)
    assert w.wealth(BOB) == TERMS.slash_reward


def test_clocks_are_totals_with_a_bounded_extension() -> None:
    w = world()
    key = w.make(ALICE, TRACE)
    dispute = w.challenge(MALLORY, key)
    w.wait(TERMS.asserter_clock_s - 1)
    w.defend(ALICE, key, TRACE)  # one second is left, the extension gives twenty
    w.do(MALLORY, moves.PickOperator(dispute, DOUBLE, TRACE.roots[DOUBLE]))
    w.wait(TERMS.extension_s)
    assert w.defend(ALICE, key, TRACE) == 1
    w.do(MALLORY, moves.PickChild(dispute, TOP, 0, TRACE.children(TOP)[0]))
    w.wait(TERMS.extension_s + 1)
    assert w.refused(CAROL, moves.PickChild(dispute, TOP, 0, ZERO)) is refusals.ClockExpired
    w.do(CAROL, moves.ClaimTimeout(dispute))
    assert slashed(w, key)


def test_the_last_second_is_still_in_time_and_the_window_does_not_stop_the_clocks() -> None:
    w = world()
    key = w.make(MALLORY, LIAR)
    w.wait(TERMS.window_s)
    dispute = w.challenge(BOB, key)
    w.wait(TERMS.asserter_clock_s)
    assert w.refused(BOB, moves.ClaimTimeout(dispute)) is refusals.ClockRunning
    w.defend(MALLORY, key, LIAR)
    w.wait(TERMS.challenger_clock_s)
    assert w.attack(BOB, dispute, MINE) is not None
    assert w.refused(MALLORY, moves.Settle(key)) is refusals.DisputesOpen


def test_a_sham_dispute_confirms_nothing_and_takes_nobodys_place() -> None:
    w = world()
    key = w.make(MALLORY, LIAR)
    sham = w.challenge(CAROL, key)
    w.defend(MALLORY, key, LIAR)
    w.do(CAROL, moves.PickOperator(sham, DOUBLE, LIAR.roots[DOUBLE]))
    w.defend(MALLORY, key, LIAR)
    w.do(CAROL, moves.PickChild(sham, TOP, 0, LIAR.children(TOP)[0]))
    w.defend(MALLORY, key, LIAR)
    w.wait(TERMS.challenger_clock_s + 1)
    w.do(MALLORY, moves.ClaimTimeout(sham))
    assert w.dispute(sham).result is Result.LOST
    assert w.assertion(key).status is Status.OPEN
    # The same operator again. The list and the top node are public: the liar reveals two more and is slashed.
    assert w.fight(MALLORY, key, LIAR, BOB, MINE) == 2
    assert slashed(w, key)
    assert w.wealth(BOB) == TERMS.slash_reward


def test_playing_both_sides_burns_half_of_a_bond() -> None:
    w = world()
    key = w.make(MALLORY, LIAR)
    w.fight(MALLORY, key, LIAR, MALLORY, MINE)
    assert w.wealth(MALLORY) <= -TERMS.asserter_bond / 2
    w = world()
    key = w.make(MALLORY, LIAR)
    dispute = w.challenge(MALLORY, key)
    w.defend(MALLORY, key, LIAR)
    w.wait(TERMS.challenger_clock_s + 1)
    w.do(MALLORY, moves.ClaimTimeout(dispute))
    assert w.state.burned >= TERMS.challenger_bond / 2


def test_disputes_beside_the_winning_one_get_their_bonds_back() -> None:
    w = world()
    key = w.make(MALLORY, LIAR)
    other = w.challenge(CAROL, key)
    w.fight(MALLORY, key, LIAR, BOB, MINE)
    assert w.assertion(key).open_disputes == 1
    w.attack(CAROL, other, MINE)
    assert w.dispute(other).result is Result.MOOT
    assert w.assertion(key).open_disputes == 0
    assert w.wealth(CAROL) == 0
    assert w.refused(CAROL, moves.CloseMoot(other)) is refusals.DisputeDecided


def test_a_copied_proof_pays_the_challenger_who_played() -> None:
    w = world()
    key = w.make(MALLORY, LIAR)
    dispute = w.challenge(BOB, key)
    while not (w.defend(MALLORY, key, LIAR) and (p := w.dispute(dispute).position) and p.height == 0):
        w.attack(BOB, dispute, MINE)
    data = w.assertion(key).reveals[p].content[0]
    element = MINE.element(p, data)
    assert element == 20_000
    w.do(CAROL, moves.ProveStep(dispute, p, data, element, MINE.openings(DOUBLE, element)))
    assert slashed(w, key)
    assert w.wealth(CAROL) == 0
    assert w.wealth(BOB) == TERMS.slash_reward


def test_a_list_that_does_not_hold_together_cannot_be_revealed() -> None:
    w = world()
    claimed = with_false_output(TRACE, tall()[1], {})
    key = w.make(MALLORY, claimed)
    dispute = w.challenge(BOB, key)
    assert w.refused(MALLORY, moves.RevealList(key, TRACE.roots)) is refusals.ListInconsistent
    w.wait(TERMS.asserter_clock_s + 1)
    w.attack(BOB, dispute, MINE)
    assert slashed(w, key)


def raw_liar(root: bytes) -> tuple[World, bytes, bytes]:
    """An asserter whose root for the middle operator is the given one; the challenger has picked it."""
    w = world()
    roots = list(LIAR.roots)
    roots[DOUBLE] = root
    key = w.make(MALLORY, LIAR)
    dispute = w.challenge(BOB, key)
    w.do(MALLORY, moves.RevealList(key, tuple(roots)))
    assert isinstance(w.attack(BOB, dispute, MINE), moves.PickOperator)
    return w, key, dispute


@pytest.mark.parametrize(("dtype", "shape"), [("int16", (30, 700)), ("int32", (700, 30)), ("int16", (21_000,))])
def test_a_root_under_another_header_cannot_be_answered_for(dtype: str, shape: tuple[int, ...]) -> None:
    root = tensor_digest(dtype, shape, TRACE.tree(DOUBLE).root)
    w, key, dispute = raw_liar(root)
    assert w.refused(MALLORY, moves.RevealNode(dispute, TOP, TRACE.children(TOP))) is refusals.NodeMismatch
    w.wait(TERMS.asserter_clock_s + 1)
    w.attack(BOB, dispute, MINE)
    assert slashed(w, key)


def test_data_after_the_end_of_a_tensor_cannot_be_answered_for() -> None:
    data = tensor_bytes(TRACE.tensor(DOUBLE))
    leaves = [tensor_leaf(data[at : at + 1024]) for at in range(0, len(data), 1024)]
    tree = Tree([*leaves, tensor_leaf(b"hidden")], EMPTY)
    root = tensor_digest("int16", (700, 30), tree.root)
    w, key, dispute = raw_liar(root)
    children = tuple(tree.node(1, n) for n in range(32))
    assert w.refused(MALLORY, moves.RevealNode(dispute, TOP, children)) is refusals.PaddingNotEmpty
    w.wait(TERMS.asserter_clock_s + 1)
    w.attack(BOB, dispute, MINE)
    assert slashed(w, key)


def test_data_in_the_rest_of_the_last_leaf_cannot_be_answered_for() -> None:
    lie = tensor_leaf(tensor_bytes(TRACE.tensor(TOTAL)) + b"hidden")
    root = tensor_digest("int32", (30,), lie)
    claim = replace(TRACE.claim(), output=tensors_root([root]))
    w = world()
    move = moves.Assert(claim, TERMS.digest())
    w.do(MALLORY, move)
    key = move.id(1, b"\x01" * 20, MALLORY)
    dispute = w.challenge(BOB, key)
    w.do(MALLORY, moves.RevealList(key, (*TRACE.roots[:TOTAL], root)))
    w.attack(BOB, dispute, MINE)
    data = tensor_bytes(TRACE.tensor(TOTAL))
    place = Position(TOTAL, 0, 0)
    assert w.refused(MALLORY, moves.RevealLeaf(dispute, place, data)) is refusals.NodeMismatch
    assert w.refused(MALLORY, moves.RevealLeaf(dispute, place, data + b"hidden")) is refusals.LeafMalformed
    w.wait(TERMS.asserter_clock_s + 1)
    w.attack(BOB, dispute, MINE)
    assert slashed(w, key)


def test_a_published_trace_is_refuted_in_one_move() -> None:
    w = world()
    key = w.make(MALLORY, LIAR, eager=True)
    move = fraud(w.assertion(key), LIAR, TRACE, w.rules.step)
    assert move is not None
    w.do(BOB, move)
    assert slashed(w, key)
    assert w.wealth(BOB) == TERMS.slash_reward
    for other in (TRACE, with_false_output(TRACE, tall()[1], {})):  # no lie, and not the list committed to
        assert fraud(w.assertion(key), other, TRACE, w.rules.step) is None


def test_a_published_list_that_does_not_hold_together_is_refuted_in_one_move() -> None:
    w = world()
    move = moves.Assert(LIAR.claim(), TERMS.digest(), trace=TRACE.commitment())
    w.do(MALLORY, move)
    key = move.id(1, b"\x01" * 20, MALLORY)
    w.do(BOB, moves.ProveList(key, TRACE.roots))
    assert slashed(w, key)
    assert w.wealth(BOB) == TERMS.slash_reward


def test_once_the_list_is_revealed_one_move_is_enough_too() -> None:
    w = world()
    key = w.make(MALLORY, LIAR)
    w.challenge(CAROL, key)
    w.defend(MALLORY, key, LIAR)
    move = fraud(w.assertion(key), LIAR, TRACE, w.rules.step)
    assert move is not None
    assert w.refused(BOB, replace(move, roots=TRACE.roots)) is refusals.ListMismatch
    assert w.refused(BOB, replace(move, root=TRACE.roots[DOUBLE])) is refusals.ListMismatch
    w.do(BOB, move)
    assert slashed(w, key)


def test_an_input_out_of_range_is_a_wrong_element() -> None:
    codes = tall()[1]["x"].copy()
    codes[500, 7] = 101
    values = codes.astype(np.int8)
    w = world()
    liar = Altered(TRACE, tall()[1], {X: values})
    key = w.make(MALLORY, liar)
    assert w.assertion(key).input == (tensor_bytes(values),)
    complaint = input_complaint(TRACE.graph, {X: values})
    assert complaint is not None
    w.fight(MALLORY, key, liar, BOB, complaint)
    assert slashed(w, key)
    assert input_complaint(TRACE.graph, {X: TRACE.tensor(X)}) is None


def test_the_input_must_be_published_on_request_and_the_window_starts_anew_once() -> None:
    w = world()
    key = w.make(ALICE, TRACE, give_input=False)
    w.wait(TERMS.window_s)
    w.do(BOB, moves.RequestInput(key))
    w.wait(TERMS.asserter_clock_s)
    w.defend(ALICE, key, TRACE)
    assert w.assertion(key).input == input_of(TRACE)
    assert w.assertion(key).closes_at == w.now + TERMS.window_s
    assert w.wealth(BOB) == -TERMS.request_fee
    assert w.refused(CAROL, moves.RequestInput(key)) is refusals.InputKnown
    w.wait(TERMS.window_s + 1)
    w.do(CAROL, moves.Settle(key))
    assert w.wealth(ALICE) == TERMS.request_fee


def test_an_input_that_nobody_can_show_loses_by_time() -> None:
    w = world()
    claim = replace(TRACE.claim(), input=b"\x10" * 32)  # hidden, or simply made up
    move = moves.Assert(claim, TERMS.digest())
    w.do(MALLORY, move)
    key = move.id(1, b"\x01" * 20, MALLORY)
    w.do(BOB, moves.RequestInput(key))
    assert w.refused(MALLORY, moves.RevealInput(key, input_of(TRACE))) is refusals.InputMismatch
    assert w.refused(MALLORY, moves.RevealInput(key, ())) is refusals.InputCount
    assert w.refused(MALLORY, moves.RevealInput(key, (b"short",))) is refusals.TensorSize
    assert w.refused(BOB, moves.ClaimInputTimeout(key)) is refusals.ClockRunning
    w.wait(TERMS.asserter_clock_s + 1)
    assert w.refused(MALLORY, moves.RevealInput(key, input_of(TRACE))) is refusals.ClockExpired
    w.do(CAROL, moves.ClaimInputTimeout(key))
    assert slashed(w, key)
    assert w.wealth(BOB) == TERMS.slash_reward


def test_two_outputs_that_both_stand_are_both_void() -> None:
    w = world()
    false, true = w.make(MALLORY, LIAR), w.make(ALICE, TRACE)
    w.wait(TERMS.window_s + 1)
    w.do(CAROL, moves.Settle(false))
    w.do(CAROL, moves.Settle(true))
    assert {w.assertion(k).status for k in (false, true)} == {Status.VOID}
    assert w.wealth(MALLORY) == w.wealth(ALICE) == 0


def test_a_refuted_rival_does_not_matter_and_a_late_one_does_not_delay() -> None:
    w = world()
    true = w.make(ALICE, TRACE)
    false = w.make(MALLORY, LIAR)
    w.fight(MALLORY, false, LIAR, BOB, MINE)
    w.wait(TERMS.window_s + 1)
    late = w.make(MALLORY, LIAR, nonce=1)
    w.do(CAROL, moves.Settle(true))
    assert w.assertion(true).status is Status.FINAL
    w.wait(TERMS.window_s + 1)
    w.do(CAROL, moves.Settle(late))  # nobody disputed it, but the true one was there first
    assert w.assertion(late).status is Status.VOID


def test_many_rivals_are_compared_a_few_at_a_time() -> None:
    w = world()
    keys = [w.make(ALICE, TRACE, nonce=n) for n in range(5)]
    w.wait(TERMS.window_s + 1)
    for step in range(3):
        w.do(CAROL, moves.Settle(keys[0], limit=2))
        assert (w.assertion(keys[0]).status is Status.FINAL) == (step == 2)


def test_losing_an_assertion_does_not_confirm_its_rival() -> None:
    w = world()
    other = with_false_output(TRACE, tall()[1], {DOUBLE: flipped(TRACE.tensor(DOUBLE), 7)})
    other.altered[TOTAL] = flipped(TRACE.tensor(TOTAL), 3)
    first, second = w.make(MALLORY, LIAR), w.make(CAROL, other)
    w.fight(MALLORY, first, LIAR, BOB, MINE)
    w.fight(CAROL, second, other, BOB, MINE)
    assert slashed(w, first)
    assert slashed(w, second)


def test_terms_are_those_of_the_day_of_the_assertion() -> None:
    w = world()
    key = w.make(ALICE, TRACE)
    dearer = replace(TERMS, challenger_bond=10_000)
    w.rules = replace(w.rules, terms={dearer.digest(): dearer})
    w.challenge(BOB, key)
    assert w.refused(ALICE, moves.Assert(TRACE.claim(), TERMS.digest(), 1)) is refusals.TermsUnknown


@pytest.mark.parametrize(
    "changes",
    [
        {"slash_reward": 501},
        {"defence_reward": 151},
        {"request_fee": 302},
        {"window_s": 0},
        {"extension_s": -1},
        {"extension_s": 1 << 32},
        {"asserter_bond": 1 << 128},
        {"challenger_bond": 1 << 128, "request_fee": 1 << 96},
        {"escalated_window_s": 1001},
        {"escalation": b"short"},
    ],
)
def test_terms_that_burn_too_little_or_that_no_contract_can_hold_do_not_exist(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"burned|negative|bond|at least|longer|32 bytes"):
        replace(TERMS, **changes)


def test_terms_have_a_digest_of_every_field_in_the_contracts_order() -> None:
    terms = replace(TERMS, escalated_window_s=7, escalation=b"\x07" * 32)
    names = [each.name for each in fields(terms)]
    assert len(names) == 11
    others: dict[str, Any] = {n: b"\1" * 32 if n == "escalation" else getattr(terms, n) - 1 for n in names}
    digests = {replace(terms, **{name: other}).digest() for name, other in others.items()}
    assert len(digests | {terms.digest()}) == 12
    numbers = [1000, 300, 200, 20, 1001, 301, 400, 150, 90, 7]
    words = b"".join(n.to_bytes(32, "big") for n in numbers)
    assert terms.digest() == keccak256(b"\x20" + words + b"\x07" * 32)


def test_roots_of_bytes_are_those_of_arrays() -> None:
    for node, header in ((n, TRACE.graph.nodes[n].header) for n in (X, DOUBLE, TOTAL)):
        data = tensor_bytes(TRACE.tensor(node))
        assert shapes.root_of_bytes(data, header) == tensor_root(TRACE.tensor(node))
        assert shapes.root_of_bytes(data[:-1], header) is None
