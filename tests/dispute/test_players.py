"""Players on a chain: who is honest wins, also when killed, cut off, overtaken, reorganised away, or held up."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.backends.optimistic.dispute_world import Altered, tall
from tests.dispute.dispute_chain import (
    ALICE,
    BOB,
    CAROL,
    LIE,
    MALLORY,
    TERMS,
    TRUTH,
    Site,
    assertion,
    close,
    liar,
    player,
    rounds,
    site,
    status,
    transactions,
)
from vml.backends.optimistic import moves
from vml.backends.optimistic.records import Assertion, Result, Status, dispute_id, word
from vml.backends.optimistic.strategy import InputOutOfRange
from vml.dispute import calls
from vml.dispute.journal import LOGGER
from vml.dispute.library import Checked
from vml.dispute.player import Habits, Player
from vml.dispute.store import FAILED, MINED, OUT
from vml.errors import ChainError

X = 0


class Overflowing(Altered):
    """An input outside its range, so that there is no run."""


def test_a_false_output_is_disputed_and_slashed() -> None:
    where = site()
    mallory, key = liar(where)
    bob = player(where, BOB, habits=Habits(withdraw=True))
    rounds(mallory, bob)
    assert status(bob, key) is Status.SLASHED
    assert bob.score() == (1, 0)
    assert mallory.score() == (0, 1)
    assert bob.stake() == 0
    assert bob.follower.ledger.state.credits.get(bob.me) is None  # withdrawn
    assert not bob.store.sent(state=FAILED)
    assert not mallory.store.sent(state=FAILED)


def test_a_true_output_survives_a_false_dispute_and_is_settled() -> None:
    where = site()
    alice = player(where, ALICE)
    key = assertion(alice, TRUTH)
    mallory = player(where, MALLORY)
    mallory.round()
    assert mallory.store.verdicts() == {key: "right"}
    mallory.sender.send(calls.call(mallory.follower.ledger, moves.Challenge(key, word(7))), "Challenge", "", stake=0)
    rounds(alice, mallory)  # the challenger knows nothing to say
    where.node.tick(TERMS.challenger_clock_s)
    rounds(alice, mallory)
    assert alice.score() == (1, 0)
    where.node.tick(TERMS.window_s)
    rounds(alice, mallory)
    assert status(alice, key) is Status.FINAL
    assert alice.follower.ledger.state.credits[alice.me] == TERMS.asserter_bond + TERMS.defence_reward


def test_an_asserter_who_does_not_answer_is_out_of_time() -> None:
    where = site()
    _, key = liar(where)
    bob = player(where, BOB)
    rounds(bob)
    where.node.tick(TERMS.asserter_clock_s)
    rounds(bob)
    assert status(bob, key) is Status.SLASHED


@pytest.mark.parametrize("answers", [True, False])
def test_a_hidden_input_is_requested(answers: bool) -> None:
    where = site()
    mallory, key = liar(where, give_input=False)
    bob = player(where, BOB)
    rounds(bob)
    assert bob.stake() == TERMS.challenger_bond
    if answers:
        rounds(mallory, bob)
        assert bob.score() == (1, 0)
    else:
        where.node.tick(TERMS.asserter_clock_s)
        rounds(bob)
    assert status(bob, key) is Status.SLASHED
    close(mallory, bob)


def test_nobody_requests_where_that_is_not_wanted_or_an_input_was_seen_elsewhere() -> None:
    where = site()
    alice = player(where, ALICE)
    key = assertion(alice, TRUTH, give_input=False)
    shy = player(where, BOB, habits=Habits(request=False))
    rounds(shy)
    assert shy.store.sent() == []
    other = assertion(alice, TRUTH, nonce=1)  # brings the same input
    rounds(shy)
    assert shy.store.verdicts() == {key: "right", other: "right"}


def test_an_input_out_of_range_is_disputed() -> None:
    where = site()
    header = TRUTH.graph.nodes[X].header
    wild = TRUTH.tensor(X).copy()
    wild.reshape(-1)[5] = header.hi + 1
    lie = Overflowing(TRUTH, tall()[1], {X: wild})
    mallory, key = liar(where, lie=lie)
    bob = player(where, BOB)
    rounds(mallory, bob)
    assert status(bob, key) is Status.SLASHED
    about = bob.follower.ledger.state.assertions[key]
    assert isinstance(bob.library.complaint(about, lie.input_bytes()), InputOutOfRange)


def test_own_bonds_are_defended_before_others_assertions_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much somebody else asserts: one is run in each round, the most urgent first."""
    where = site()
    alice = player(where, ALICE)
    own = assertion(alice, TRUTH)
    carol = player(where, CAROL)
    carol.follower.sync()
    carol.sender.send(calls.call(carol.follower.ledger, moves.Challenge(own, word(0))), "Challenge", "", stake=0)
    mallory, first = liar(where)
    others = [first, *(assertion(mallory, LIE, nonce=number) for number in (1, 2))]
    seen: list[tuple[bytes, list[str]]] = []
    check = alice.library.check

    def noting(one: Assertion, data: Any) -> Checked:
        seen.append((one.id, [each.kind for each in alice.store.sent()]))
        return check(one, data)

    monkeypatch.setattr(alice.library, "check", noting)
    assert alice.round()
    assert [(key, kinds[1:]) for key, kinds in seen] == [(others[0], ["RevealList"])]
    assert alice.round()
    assert alice.round()
    assert [key for key, _ in seen] == others


def test_a_dispute_that_is_moot_gets_its_bond_back() -> None:
    where = site()
    mallory, key = liar(where)
    bob, carol = player(where, BOB), player(where, CAROL)
    rounds(mallory, bob, carol)
    results = {d.challenger: d.result for d in carol.follower.ledger.state.disputes.values()}
    assert sorted(each.value for each in results.values()) == ["moot", "won"]
    assert carol.stake() == bob.stake() == 0
    assert status(bob, key) is Status.SLASHED


def test_two_assertions_of_one_question_are_settled_in_turn() -> None:
    where = site()
    alice = player(where, ALICE)
    first, second = assertion(alice, TRUTH), assertion(alice, TRUTH, nonce=1)
    where.node.tick(TERMS.window_s + 1)
    rounds(alice)
    assert {status(alice, first), status(alice, second)} == {Status.FINAL}


def test_an_assertion_whose_model_nobody_holds_is_skipped_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    where = site()
    _, key = liar(where)
    bob = player(where, BOB, models=False)
    with caplog.at_level(logging.INFO, LOGGER):
        bob.round()
        bob.round()
    assert sum("no folder holds this model" in record.getMessage() for record in caplog.records) == 1
    assert bob.store.sent() == []
    assert status(bob, key) is Status.OPEN


def test_an_own_assertion_that_is_lost_from_the_file_is_defended_from_what_is_public() -> None:
    where = site()
    alice = player(where, ALICE)
    key = assertion(alice, TRUTH)
    again = player(where, ALICE)  # another file, in memory
    where.node.tick(TERMS.window_s + 1)
    rounds(again)
    assert status(again, key) is Status.FINAL


def test_two_processes_of_one_account_share_a_file_and_move_once(tmp_path: Path) -> None:
    where = site()
    mallory, key = liar(where)
    one, other = (player(where, BOB, db=tmp_path / "bob.sqlite") for _ in range(2))
    rounds(mallory, one, other)
    assert status(one, key) is status(other, key) is Status.SLASHED
    sent = one.store.sent()
    assert len({each.move for each in sent}) == len(sent) == len(other.store.sent())
    assert {each.state for each in sent} == {MINED}
    with one.store.held(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("vml.dispute.store.HELD_S", 0)
        with pytest.raises(ChainError, match="another process"):
            other.round()
    other.round()
    close(one, other)


# ---- killed, at every request ----------------------------------------------------------------------------------------


class Killed(BaseException):
    """As SIGKILL: nothing is caught, nothing is tidied up."""


def killed_at(where: Site, count: int) -> None:
    """The connection kills the process at its so-manieth request, half of the time after the request went through."""
    real = where.node.make_request
    left = itertools.count(1)

    def request(method: str, params: Any) -> Any:
        number = next(left)
        if number == count and count % 2:
            real(method, params)
        if number >= count:
            raise Killed
        return real(method, params)

    where.node.make_request = request  # type: ignore[method-assign]


def test_whoever_is_killed_goes_on_and_sends_nothing_twice(tmp_path: Path) -> None:
    """Bob is killed at a request, ever later, until he is through; each time he begins again from his file."""
    where = site()
    before = transactions(where)
    mallory, key = liar(where)
    for count in itertools.count(1, 3):
        bob = None
        killed_at(where, count)
        try:
            bob = player(where, BOB, db=tmp_path / "bob.sqlite")
            bob.round()
        except Killed:
            pass
        finally:
            del where.node.make_request  # type: ignore[method-assign]
            if bob is not None:
                bob.store.close()
        mallory.round()
        if status(mallory, key) is Status.SLASHED:
            break
        assert count < 600
    bob = player(where, BOB, db=tmp_path / "bob.sqlite")
    rounds(bob, mallory)
    assert bob.score() == (1, 0)
    sent = bob.store.sent()
    assert len({each.move for each in sent}) == len({each.nonce for each in sent}) == len(sent)
    assert transactions(where) - before == len(sent) + len(mallory.store.sent())
    assert {each.state for each in sent} == {MINED}
    close(bob, mallory)


# ---- the node fails, others are faster -------------------------------------------------------------------------------


def test_a_node_that_is_gone_for_a_while_is_waited_for() -> None:
    where = site()
    mallory, key = liar(where)
    bob = player(where, BOB)
    waits: list[float] = []
    looks = itertools.count()

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if not where.node.gone:
            mallory.round()

    def end(one: Player) -> bool:
        if next(looks) % 3 == 1:
            where.node.gone = 17  # three requests with their repetitions, and a part of the fourth
        return one.follower.ledger.state.assertions[key].status is Status.SLASHED

    bob._sleep = sleep
    bob.run(0.0, end)
    assert bob.score() == (1, 0)
    assert {1.0, 2.0, 4.0} <= set(waits)


def test_a_move_that_somebody_else_made_first_is_not_made() -> None:
    """A copy of the proof is sent by Carol just before; it pays Bob, who goes on without a failed transaction."""
    where = site()
    mallory, key = liar(where)
    bob, carol = player(where, BOB), player(where, CAROL, habits=Habits(watch=False))
    dispute = dispute_id(key, bob.me, word(0))
    while not any(isinstance(wish.move, moves.ProveStep) for wish in list(bob.wishes(where.now()))):
        bob.round()
        mallory.round()
        bob.follower.sync()
    (wish,) = [wish for wish in bob.wishes(where.now()) if isinstance(wish.move, moves.ProveStep)]
    carol.follower.sync()
    proof = calls.call(carol.follower.ledger, wish.move, where.graph)
    carol.sender.send(proof, "ProveStep", "", stake=0)
    assert not bob._make(wish)
    rounds(bob, mallory)
    assert bob.score() == (1, 0)
    assert bob.follower.ledger.state.disputes[dispute].result is Result.WON
    assert not bob.store.sent(state=FAILED)


def test_a_move_that_fails_on_the_chain_is_not_made_again_where_it_is_too_late() -> None:
    where = site()
    _, key = liar(where)
    bob = player(where, BOB)
    where.node.holding = True
    bob.round()  # the challenge is signed and held back
    assert [each.kind for each in bob.store.sent(state=OUT)] == ["Challenge"]
    raw = where.node.waiting.pop()
    # Somebody copies it to the block in which it runs out of gas; here: it is mined when the contract refuses it.
    where.node.tick(TERMS.window_s + 1)
    where.node.waiting.append(raw)
    where.node.release()
    bob.round()
    assert [each.state for each in bob.store.sent()] == [FAILED]
    rounds(bob)
    assert status(bob, key) is Status.OPEN  # too late, and nothing was sent in vain
    assert len(bob.store.sent()) == 1
