"""Players that go on: after failures that pass, without what others hold back, and in bounded memory."""

from __future__ import annotations

import gc
import logging
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from tests.backends.optimistic.dispute_world import tall
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
    assertion_of,
    liar,
    player,
    rounds,
    site,
    status,
)
from vml.backends.optimistic import moves
from vml.backends.optimistic.records import Assertion, Status, word
from vml.backends.optimistic.trace import Trace
from vml.chain import artifacts
from vml.dispute import calls
from vml.dispute.journal import LOGGER
from vml.dispute.library import KEPT_TRACES, MOST_TRACES, Checked
from vml.dispute.player import Habits, Player
from vml.dispute.recall import Pauses, Recent
from vml.dispute.sender import Budget
from vml.dispute.store import FAILED, Own
from vml.errors import ChainError
from vml.merkle import tensor_bytes


def sends(one: Player, move: moves.Move, kind: str) -> None:
    one.follower.sync()
    one.sender.send(calls.call(one.follower.ledger, move, sender=one.me), kind, "", stake=0)


def silent(where: Site, who: Any) -> Player:
    return player(where, who, habits=Habits(watch=False))


def traces() -> int:
    gc.collect()
    return sum(isinstance(each, Trace) for each in gc.get_objects())


# ---- failures that pass ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(28, "no space"), KeyError("gone")], ids=lambda e: type(e).__name__
)
def test_an_own_assertion_is_defended_after_a_failure(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    where = site()
    alice = player(where, ALICE)
    key = assertion(alice, TRUTH)
    sends(silent(where, MALLORY), moves.Challenge(key, word(7)), "Challenge")
    trace, left = alice.library.trace, [error, error]

    def failing(*given: Any) -> Trace:
        if left:
            raise left.pop()
        return trace(*given)

    monkeypatch.setattr(alice.library, "trace", failing)
    with caplog.at_level(logging.INFO, LOGGER):
        for _ in range(4):
            alice.round()
    assert alice.follower.ledger.state.assertions[key].roots is not None
    assert sum("could not be run" in record.getMessage() for record in caplog.records) == 1


def test_an_own_dispute_is_played_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    where = site()
    mallory, key = liar(where)
    bob = player(where, BOB)
    bob.round()
    mallory.round()
    complaint, left = bob.library.complaint, [1, 1]

    def failing(*given: Any) -> Any:
        if left:
            left.pop()
            raise MemoryError
        return complaint(*given)

    monkeypatch.setattr(bob.library, "complaint", failing)
    rounds(mallory, bob)
    assert status(bob, key) is Status.SLASHED


def test_others_assertions_are_tried_again_after_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    where = site()
    mallory, key = liar(where)
    bob, now, tried = player(where, BOB), [0.0], []
    bob._broken = Pauses(lambda: now[0], 5.0, 20.0)
    check = bob.library.check

    def failing(about: Assertion, data: Any) -> Checked:
        tried.append(now[0])
        if len(tried) < 5:
            raise OSError(5, "a network folder")
        return check(about, data)

    monkeypatch.setattr(bob.library, "check", failing)
    for second in range(70):
        now[0] = float(second)
        bob.round()
    assert tried == [0, 5, 15, 35, 55]
    rounds(mallory, bob)
    assert status(bob, key) is Status.SLASHED


def test_a_move_that_cannot_be_put_into_bytes_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    where = site()
    _, key = liar(where)
    bob = player(where, BOB)
    real, left = calls.call, [1]

    def failing(*given: Any) -> calls.Call:
        if left:
            left.pop()
            raise ValueError("no such thing")
        return real(*given)

    monkeypatch.setattr("vml.dispute.player.calls.call", failing)
    assert not bob.round() or not bob.store.sent()
    bob.round()
    assert [each.kind for each in bob.store.sent()] == ["Challenge"]
    assert status(bob, key) is Status.OPEN


# ---- what others hold back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watching", [True, False])
def test_a_request_of_somebody_else_that_nobody_answers(watching: bool) -> None:
    """An accomplice requests, the asserter is silent: somebody else claims the time-out, or all its rivals hang."""
    where = site()
    _, key = liar(where, give_input=False)
    carol = silent(where, CAROL)
    sends(carol, moves.RequestInput(key), "RequestInput")
    alice = player(where, ALICE, habits=Habits(watch=watching))
    mine = assertion(alice, TRUTH, give_input=False)
    where.node.tick(TERMS.window_s + TERMS.asserter_clock_s)
    rounds(alice)
    assert status(alice, key) is Status.SLASHED
    assert status(alice, mine) is Status.FINAL


def test_a_dispute_of_somebody_else_that_nobody_ends() -> None:
    where = site()
    _, key = liar(where)
    sends(silent(where, CAROL), moves.Challenge(key, word(0)), "Challenge")
    alice = player(where, ALICE, habits=Habits(watch=False))
    mine = assertion(alice, TRUTH)
    where.node.tick(TERMS.window_s + TERMS.asserter_clock_s)
    rounds(alice)
    assert status(alice, key) is Status.SLASHED
    assert status(alice, mine) is Status.FINAL


def test_any_watcher_claims_the_time_out_of_a_request() -> None:
    where = site()
    _, key = liar(where, give_input=False)
    sends(silent(where, CAROL), moves.RequestInput(key), "RequestInput")
    bob = player(where, BOB)
    rounds(bob)
    assert bob.store.sent() == []
    where.node.tick(TERMS.asserter_clock_s + 1)
    rounds(bob)
    assert [each.kind for each in bob.store.sent()] == ["ClaimInputTimeout"]
    assert status(bob, key) is Status.SLASHED


def test_an_own_input_answers_for_a_rival_that_hides_it() -> None:
    where = site()
    mallory, key = liar(where, give_input=False)
    alice = player(where, ALICE)
    assertion(alice, TRUTH, give_input=False)
    rounds(alice, mallory)
    assert "RequestInput" not in [each.kind for each in alice.store.sent()]
    assert status(alice, key) is Status.SLASHED


# ---- inputs from before the first block ------------------------------------------------------------------------------


def stored_early(where: Site) -> int:
    """Store the input; returns a later block to begin at."""
    game = artifacts.load("DisputeGame").abi
    data = list(TRUTH.input_bytes())
    where.chain(MALLORY).transact(where.game, game, "storeInput", TRUTH.graph.commitment, data)
    where.node.tick(5)
    return int(where.node.chain.make_request("eth_blockNumber", [])["result"], 16)


@pytest.mark.parametrize("habits", [Habits(), Habits(request=False)], ids=["request", "no request"])
@pytest.mark.parametrize("span", [0, 1, 3])
def test_an_input_stored_before_the_first_block_is_found(habits: Habits, span: int) -> None:
    """Also on a node that answers for a few blocks only."""
    where = site()
    first = stored_early(where)
    mallory, key = liar(where, give_input=False)
    bob = player(where, BOB, habits=habits, first=first)
    real = where.node.make_request

    def narrow(method: str, params: Any) -> Any:
        ranged = params[0] if span and method == "eth_getLogs" else {"fromBlock": "0x0", "toBlock": "-0x1"}
        if int(ranged["toBlock"], 16) - int(ranged["fromBlock"], 16) >= span:
            return {"jsonrpc": "2.0", "id": 0, "error": {"code": -32000, "message": "range too wide"}}
        return real(method, params)

    where.node.make_request = narrow  # type: ignore[method-assign]
    rounds(mallory, bob)
    assert status(bob, key) is Status.SLASHED
    assert bob.store.sent()[0].kind == "Challenge"


@pytest.mark.parametrize("answer", ["none", "refused", "lie", "no log"])
def test_an_input_that_is_public_and_cannot_be_had_is_an_error(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    where = site()
    first = stored_early(where)
    _, key = liar(where, give_input=False)
    bob = player(where, BOB, first=first)
    real = where.node.make_request

    def forgetful(method: str, params: Any) -> Any:
        answered = real(method, params)
        if method != "eth_getLogs" or "topics" not in params[0]:
            return answered
        if answer == "refused":
            return {"jsonrpc": "2.0", "id": 0, "error": {"code": -32000, "message": "pruned"}}
        if answer == "lie":
            lies = [{**log, "data": log["data"][:1000] + "ff" + log["data"][1002:]} for log in answered["result"]]
            return {**answered, "result": lies}
        return {**answered, "result": [] if answer == "none" else [7]}

    where.node.make_request = forgetful  # type: ignore[method-assign]
    with caplog.at_level(logging.INFO, LOGGER):
        rounds(bob)
    said = [record for record in caplog.records if "cannot be read here" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.ERROR]
    assert [each.kind for each in bob.store.sent()] == []
    assert status(bob, key) is Status.OPEN
    where.node.make_request = real  # type: ignore[method-assign]
    bob.inputs._pauses = Pauses(lambda: 0.0)
    bob.round()
    assert bob.store.verdicts() == {key: "wrong"}


def test_a_contract_that_knows_an_input_makes_it_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    where = site()
    first = stored_early(where)
    _, key = liar(where, give_input=False)
    bob = player(where, BOB, first=first)
    monkeypatch.setattr(bob.inputs, "_is_public", lambda key: False)
    bob.round()
    assert bob.store.sent() == []  # refused: InputKnown
    bob.round()
    assert bob.store.verdicts() == {key: "wrong"}


def test_bytes_that_are_not_the_claimed_input_judge_nothing() -> None:
    where = site()
    _, key = liar(where)
    bob = player(where, BOB)
    bob.follower.sync()
    about = bob.follower.ledger.state.assertions[key]
    other = tensor_bytes(TRUTH.tensor(0)[::-1])
    with pytest.raises(ValueError, match="not the claimed input"):
        bob.library.check(about, (other,))


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_traces_of_false_assertions_do_not_pile_up() -> None:
    where = site()
    terms = replace(TERMS, asserter_bond=0, slash_reward=0)
    where.chain(MALLORY).transact(where.game, artifacts.load("DisputeGame").abi, "offerTerms", astuple(terms))
    mallory = silent(where, MALLORY)
    for number in range(KEPT_TRACES + 4):
        assertion_of(mallory, LIE, terms, nonce=number)
    before = traces()
    bob = player(where, BOB, habits=Habits(terms=frozenset({terms.digest()})), budget=Budget(max_stake=0))
    for _ in range(KEPT_TRACES + 6):
        bob.round()
    assert set(bob.store.verdicts().values()) == {"wrong"}
    assert len(bob.store.verdicts()) == KEPT_TRACES + 4
    assert traces() - before <= KEPT_TRACES


def test_room_for_runs_follows_what_is_played() -> None:
    where = site()
    alice = player(where, ALICE)
    keys = [assertion(alice, TRUTH, nonce=number) for number in range(3)]
    alice.round()
    assert alice.library._traces.size == KEPT_TRACES
    assert len(alice.library._traces) == 0  # nothing was asked, nothing is at hand
    carol = silent(where, CAROL)
    for key in keys[:2]:
        sends(carol, moves.Challenge(key, word(0)), "Challenge")
    alice.round()
    assert alice.library._traces.size == KEPT_TRACES + 2
    assert len(alice.library._traces) == 2
    alice.library.make_room(1000)
    assert alice.library._traces.size == MOST_TRACES
    alice.library.make_room(-KEPT_TRACES + 1)
    assert len(alice.library._traces) == 1


def test_what_is_remembered_has_a_size() -> None:
    kept: Recent[int, int] = Recent(2)
    for number in range(3):
        kept[number] = number
    assert 0 not in kept
    assert kept[1] == 1
    kept[3] = 3
    assert 2 not in kept
    assert len(kept) == 2
    kept.pop(1)
    kept.pop(1)
    assert len(kept) == 1


def test_an_assertion_that_is_lost_from_every_place_is_settled_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    where = site()
    alice = player(where, ALICE)
    key = assertion(alice, TRUTH, give_input=False)
    again = player(where, ALICE, models=False)
    with caplog.at_level(logging.INFO, LOGGER):
        again.round()
    assert any("cannot be defended" in record.getMessage() for record in caplog.records)
    where.node.tick(TERMS.window_s + 1)
    rounds(again)
    assert status(again, key) is Status.FINAL


# ---- a refutation in one move that cannot be sent --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["refused", "too dear", "hopeless"])
def test_a_dispute_takes_the_place_of_a_refutation(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = site()
    mallory, key = liar(where, eager=True)
    folder = tmp_path / f"0x{key.hex()}"
    folder.mkdir()
    (folder / "roots").write_bytes(b"".join(LIE.roots))
    for node in range(len(LIE.roots)):
        (folder / f"{node}.bin").write_bytes(tensor_bytes(LIE.tensor(node)))
    bob = player(where, BOB, habits=Habits(traces=tmp_path))
    gas, state = bob.sender.gas, bob.sender.under_way

    def refusing(made: calls.Call) -> int:
        if made.name == "proveFraud" and how != "hopeless":
            raise ChainError("too much", error="X") if how == "refused" else ChainError("too large")
        return gas(made)

    def failed(move: bytes) -> bool:
        if how != "hopeless":
            return state(move)
        monkeypatch.setattr(bob.sender, "under_way", state)
        return True

    monkeypatch.setattr(bob.sender, "gas", refusing)
    monkeypatch.setattr(bob.sender, "under_way", failed)
    bob.round()
    assert [each.kind for each in bob.store.sent()] == ["Challenge"]
    rounds(mallory, bob)
    assert status(bob, key) is Status.SLASHED
    assert not bob.store.sent(state=FAILED)
    assert bob.score() == (1, 0)


def test_own_inputs_of_assertions_that_are_not_on_the_chain_say_nothing() -> None:
    where = site()
    alice = player(where, ALICE)
    alice.store.add_own(Own(b"\1" * 32, tall()[0].graph.commitment, None, (b"",)))
    alice.round()
    assert alice.store.sent() == []
