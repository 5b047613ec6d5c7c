"""Sending: stuck transactions, used nonces, budgets, dry runs; and what a player says of itself."""

from __future__ import annotations

import json
import logging
import urllib.request
from typing import Any

import pytest

from tests.dispute.dispute_chain import (
    BOB,
    LIE,
    TERMS,
    assertion,
    liar,
    player,
    rounds,
    site,
    status,
    transactions,
)
from vml.backends.optimistic.records import Status
from vml.dispute.journal import LOGGER
from vml.dispute.player import Habits
from vml.dispute.sender import Budget
from vml.dispute.store import CANCEL, MINED

# ---- held up ---------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_stuck_transaction_is_sent_again_for_more() -> None:
    where = site()
    mallory, key = liar(where)
    bob, clock = player(where, BOB, stuck_s=60), Clock()
    bob.sender._clock = clock
    where.node.holding = True
    bob.round()
    bob.round()
    assert len(bob.store.sent()) == 1  # sent once, however often it is looked at
    clock.now = 61
    bob.round()
    first, second = bob.store.sent()
    assert (second.nonce, second.move, second.data) == (first.nonce, first.move, first.data)
    assert second.fee > first.fee
    assert second.tip > first.tip
    where.node.release(only_last=True)
    rounds(mallory, bob)
    assert status(bob, key) is Status.SLASHED
    assert [each.state for each in bob.store.sent(move=first.move)] == ["replaced", MINED]


def test_a_stuck_transaction_that_would_fail_by_now_is_cancelled() -> None:
    where = site()
    _, key = liar(where)
    bob, clock = player(where, BOB, stuck_s=60), Clock()
    bob.sender._clock = clock
    where.node.holding = True
    bob.round()
    where.node.tick(TERMS.window_s + 1)
    clock.now = 61
    bob.round()
    last = bob.store.sent()[-1]
    assert (last.kind, last.value, last.data) == (CANCEL, 0, b"")
    where.node.release(only_last=True)
    rounds(bob)
    assert bob.stake() == 0
    assert status(bob, key) is Status.OPEN
    assert [each.state for each in bob.store.sent()] == ["replaced", MINED]


def test_a_nonce_that_somebody_else_used_frees_the_move() -> None:
    """The same key was used elsewhere: what is out can never be mined, and the move is made anew."""
    where = site()
    mallory, key = liar(where)
    bob = player(where, BOB)
    where.node.holding = True
    bob.round()
    where.node.holding, where.node.waiting = False, []
    elsewhere = where.chain(BOB)
    elsewhere.send(mallory.sender._sender(), b"")
    rounds(*[bob] * 4)
    rounds(mallory, bob)
    assert status(bob, key) is Status.SLASHED
    assert bob.store.sent()[0].state == "replaced"


# ---- budgets, dry runs, figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "budget",
    [
        Budget(max_stake=TERMS.challenger_bond - 1),
        Budget(max_gas=50_000),
    ],
    ids=["stake", "gas"],
)
def test_nothing_is_sent_beyond_the_budget(budget: Budget, caplog: pytest.LogCaptureFixture) -> None:
    where = site()
    _, key = liar(where)
    bob = player(where, BOB, budget=budget)
    with caplog.at_level(logging.ERROR, LOGGER):
        rounds(bob)
    assert bob.store.sent() == []
    assert "NOT SENT, over budget" in caplog.text
    assert status(bob, key) is Status.OPEN


def test_nothing_is_sent_while_gas_is_too_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    where = site()
    _, key = liar(where)
    bob = player(where, BOB, budget=Budget(max_fee=10))
    real = where.node.make_request
    price = ["0xb"]

    def dear(method: str, params: Any) -> Any:
        answer = real(method, params)
        if method == "eth_maxPriorityFeePerGas":
            answer["result"] = price[0]
        return answer

    where.node.make_request = dear  # type: ignore[method-assign]
    bob.round()
    assert bob.store.sent() == []
    price[0] = "0xa"
    bob.round()
    assert [each.kind for each in bob.store.sent()] == ["Challenge"]
    assert bob.store.sent()[0].fee == 10
    assert status(bob, key) is Status.OPEN


def test_the_budget_holds_over_several_assertions() -> None:
    where = site()
    mallory, first = liar(where)
    second = assertion(mallory, LIE, nonce=1)
    bob = player(where, BOB, budget=Budget(max_stake=TERMS.challenger_bond))
    where.node.holding = True
    bob.round()
    assert len(bob.store.sent()) == 1  # the one that is out counts, too
    where.node.release()
    mallory.library.lies[second] = LIE  # type: ignore[attr-defined]
    rounds(mallory, bob)
    assert {status(bob, first), status(bob, second)} == {Status.SLASHED}  # one after the other


def test_budgets_are_positive() -> None:
    for wrong in ({"max_stake": -1}, {"max_fee": 0}, {"max_gas": -5}):
        with pytest.raises(ValueError, match="positive"):
            Budget(**wrong)


@pytest.mark.parametrize("who", [BOB, None])
def test_a_dry_run_says_what_it_would_do_and_sends_nothing(who: Any, caplog: pytest.LogCaptureFixture) -> None:
    where = site()
    liar(where)
    before = transactions(where)
    bob = player(where, who, habits=Habits(dry=True))
    with caplog.at_level(logging.INFO, LOGGER):
        rounds(bob)
        rounds(bob)
    assert transactions(where) == before
    would = [record for record in caplog.records if record.getMessage() == "would send"]
    assert [record.facts["move"] for record in would] == ["Challenge"]  # type: ignore[attr-defined]


def test_figures_for_prometheus() -> None:
    where = site()
    mallory, _ = liar(where)
    bob = player(where, BOB, metrics=True)
    rounds(mallory, bob)
    port = bob.journal.serve(0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert figures['vml_dispute_assertions{status="slashed"}'] == "1.0"
    assert figures['vml_dispute_checked_total{verdict="wrong"}'] == "1.0"
    assert figures['vml_dispute_moves_sent_total{move="ProveStep"}'] == "1.0"
    assert figures["vml_dispute_disputed_total"] == "1.0"
    assert figures["vml_dispute_won"] == "1.0"
    assert figures["vml_dispute_stake_wei"] == "0.0"
    assert float(figures["vml_dispute_gas_used"]) == bob.store.gas_used() > 0
    assert float(figures["vml_dispute_last_block"]) > 0


def test_a_log_line_is_one_line_whatever_a_node_says() -> None:
    from vml.dispute.journal import Lines

    record = logging.LogRecord(LOGGER, logging.INFO, "", 0, "what", None, None)
    record.facts = {"error": "two\nlines \x1b[31m", "number": 3}
    plain = Lines(False).format(record)
    assert "\n" not in plain
    assert "\x1b" not in plain
    assert plain.endswith('info what error="two\\\\nlines \\\\x1b[31m" number=3')
    assert json.loads(Lines(True).format(record))["error"] == "two\nlines \x1b[31m"
