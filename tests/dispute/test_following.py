"""Following a chain: reorganisations, confirmations, ranges of logs, and logs that are not believed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dispute.dispute_chain import (
    ALICE,
    BOB,
    CAROL,
    TRUTH,
    assertion,
    liar,
    player,
    rounds,
    site,
    status,
)
from vml.backends.optimistic.records import Status
from vml.chain import abi
from vml.dispute import calls
from vml.dispute.store import FAILED, MINED
from vml.errors import ChainError

# ---- the chain moves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [True, False])
def test_a_reorganisation_is_followed(keep: bool) -> None:
    where = site()
    mallory, key = liar(where)
    bob = player(where, BOB)
    for _ in range(3):
        bob.round()
        mallory.round()
    asked = len(bob.follower.ledger.state.assertions[key].reveals), len(where.node.done)
    where.node.take_back(3, keep=keep)
    rounds(mallory, bob)
    assert status(bob, key) is Status.SLASHED, asked
    assert bob.score() == (1, 0)
    assert {each.state for each in bob.store.sent()} <= ({MINED} if keep else {MINED, FAILED})


def test_an_assertion_that_a_reorganisation_takes_away_is_forgotten() -> None:
    where = site()
    alice = player(where, ALICE)
    alice.round()
    key = assertion(alice, TRUTH)
    bob = player(where, BOB)
    bob.round()
    assert key in bob.follower.ledger.state.assertions
    where.node.take_back(1, keep=False)
    head = bob.follower.sync()
    assert head.dropped
    assert bob.follower.ledger.state.assertions == {}
    assert bob.follower.ledger.terms  # what was before it is still known
    rounds(alice)  # its transaction is sent again
    assert status(bob, key) is Status.OPEN


def test_a_reorganisation_deeper_than_what_is_remembered_costs_reading_anew() -> None:
    where = site()
    alice = player(where, ALICE)
    key = assertion(alice, TRUTH)
    bob = player(where, BOB)
    bob.follower._remembered = 1
    bob.round()
    where.node.tick(5)
    bob.round()
    assert len(bob.store.blocks()) == 1
    where.node.take_back(2, keep=True)
    bob.round()
    assert status(bob, key) is Status.OPEN


def test_events_count_after_as_many_blocks_as_asked_for() -> None:
    where = site()
    alice = player(where, ALICE)
    key = assertion(alice, TRUTH)
    bob = player(where, BOB, confirmations=3)
    bob.round()
    assert key not in bob.follower.ledger.state.assertions
    where.node.tick(1)
    where.node.tick(1)
    bob.round()
    assert key in bob.follower.ledger.state.assertions


def test_logs_are_asked_for_in_ranges_that_the_node_takes() -> None:
    where = site()
    mallory, key = liar(where)
    rounds(mallory, player(where, BOB))
    real, spans = where.node.make_request, []

    def narrow(method: str, params: Any) -> Any:
        if method == "eth_getLogs":
            span = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
            spans.append(span)
            if span > 2:
                return {"jsonrpc": "2.0", "id": 0, "error": {"code": -32000, "message": "range too wide"}}
        return real(method, params)

    where.node.make_request = narrow  # type: ignore[method-assign]
    carol = player(where, CAROL)
    carol.follower.sync()
    assert max(spans) > 2
    assert carol.follower.ledger.state == player(where, BOB).follower.ledger.state or status(carol, key)


@pytest.mark.parametrize(
    "lie",
    [
        {"address": "0x" + "11" * 20},
        {"blockHash": "0x" + "22" * 32},
        {"blockNumber": "0xffff"},
        {"data": "0x01"},
        {"topics": []},
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_logs_that_do_not_fit_are_not_believed(lie: dict[str, Any]) -> None:
    where = site()
    liar(where)
    real = where.node.make_request

    def lying(method: str, params: Any) -> Any:
        answer = real(method, params)
        if method == "eth_getLogs":
            answer["result"] = [{**log, **lie} for log in answer["result"]]
        return answer

    where.node.make_request = lying  # type: ignore[method-assign]
    bob = player(where, BOB)
    if lie == {"topics": []}:
        bob.follower.sync()
        assert bob.follower.ledger.state.assertions == {}
        return
    with pytest.raises(ChainError):
        bob.follower.sync()
    assert bob.store.blocks() == []


def test_a_log_that_comes_twice_is_no_reason_to_end() -> None:
    where = site()
    liar(where)
    real = where.node.make_request

    def repeating(method: str, params: Any) -> Any:
        answer = real(method, params)
        if method == "eth_getLogs":
            answer["result"] = [*answer["result"], *answer["result"][-1:]]
        return answer

    where.node.make_request = repeating  # type: ignore[method-assign]
    bob = player(where, BOB)
    with pytest.raises(ChainError, match="two logs at one place"):
        bob.follower.sync()
    where.node.make_request = real  # type: ignore[method-assign]
    assert bob.follower.sync().fresh


def test_missing_events_are_noticed() -> None:
    where = site()
    mallory, _ = liar(where)
    rounds(mallory, player(where, BOB))
    real = where.node.make_request
    (event,) = [e for e in calls.contract_abi() if e.get("name") == "Asserted" and e["type"] == "event"]
    asserted = "0x" + abi.topic(event).hex()

    def forgetful(method: str, params: Any) -> Any:
        answer = real(method, params)
        if method == "eth_getLogs":
            answer["result"] = [log for log in answer["result"] if log["topics"][0] != asserted]
        return answer

    where.node.make_request = forgetful  # type: ignore[method-assign]
    with pytest.raises(ChainError, match="events are missing"):
        player(where, CAROL).follower.sync()
