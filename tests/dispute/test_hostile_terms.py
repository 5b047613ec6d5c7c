"""Terms that somebody else wrote, against whoever watches: no money is put at stake under them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
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
    player,
    rounds,
    site,
    status,
)
from vml.backends.optimistic import moves
from vml.backends.optimistic.profiles import PROFILES, Worst, terms_for
from vml.backends.optimistic.records import Assertion, Status, Terms, word
from vml.backends.optimistic.trace import Trace
from vml.chain import artifacts
from vml.dispute import calls
from vml.dispute.caution import MULTIPLE, TO_ASSERT, named, objection
from vml.dispute.journal import LOGGER
from vml.dispute.library import Checked
from vml.dispute.player import Habits, Player
from vml.errors import ChainError

ETH = 10**18
FEE = Terms(20_000, 5_000, 4_000, 200, 2, 10 * ETH, 1, 0, 10 * ETH)
"""The fee of a request is the whole bond."""
HASTE = Terms(20_000, 5_000, 1, 0, 2, 10 * ETH, 1, 5 * ETH, 0)
"""A challenger has one second, and pays half of its bond to whoever it challenged."""
FREE = Terms(1, 1, 1, 0, 0, 0, 0, 0, 0)
OTHER = Trace(tall()[0], {"x": tall()[1]["x"][::-1].copy()})
WORST = Worst(4, 5, 700_000, 3_000_000, 1_000_000)


def offer(where: Site, terms: Terms) -> None:
    where.chain(MALLORY).transact(where.game, artifacts.load("DisputeGame").abi, "offerTerms", astuple(terms))


def credit(one: Player) -> int:
    one.follower.sync()
    return one.follower.ledger.state.credits.get(one.me, 0)


def asserter(where: Site) -> Player:
    return player(where, MALLORY, habits=Habits(watch=False))


@contextmanager
def noting(one: Player) -> Iterator[list[str]]:
    """What a player runs and sends, in order."""
    seen: list[str] = []
    check, send = one.library.check, one.sender.send

    def checking(*given: Any) -> Any:
        seen.append("run")
        return check(*given)

    def sending(made: Any, kind: str, *given: Any, **more: Any) -> Any:
        seen.append(kind)
        return send(made, kind, *given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one.library, "check", checking)
        patch.setattr(one.sender, "send", sending)
        yield seen


@pytest.mark.parametrize(("terms", "give"), [(FEE, False), (HASTE, True)], ids=["fee", "haste"])
def test_nothing_is_staked_under_hostile_terms(terms: Terms, give: bool, caplog: pytest.LogCaptureFixture) -> None:
    where = site()
    offer(where, terms)
    mallory = asserter(where)
    key = assertion_of(mallory, LIE if give else TRUTH, terms, give_input=give)
    mallory.library.lies[key] = LIE  # type: ignore[attr-defined]
    bob = player(where, BOB)
    with caplog.at_level(logging.INFO, LOGGER):
        for _ in range(6):
            bob.round()
            mallory.round()
            where.node.tick(12)
    assert bob.store.sent() == []
    assert credit(mallory) == 0
    assert sum("not acceptable" in record.getMessage() for record in caplog.records) == 1
    where.node.tick(terms.window_s)
    rounds(mallory, bob)
    assert credit(mallory) == terms.asserter_bond


def test_terms_that_the_user_named_are_played_under() -> None:
    where = site()
    offer(where, FEE)
    mallory = asserter(where)
    assertion_of(mallory, TRUTH, FEE, give_input=False)
    bob = player(where, BOB, habits=Habits(terms=frozenset({FEE.digest()})))
    bob.round()
    assert [each.kind for each in bob.store.sent()] == ["RequestInput"]


@pytest.mark.parametrize("profiles", [("local",), ("l1-safe", "local"), ("fast-l2", "l1-safe"), ()])
def test_terms_of_a_profile_are_played_under_by_whoever_has_it(profiles: tuple[str, ...]) -> None:
    where = site()
    bob = player(where, BOB, habits=Habits(profiles=profiles))
    terms = terms_for(PROFILES["local"], bob.caution.worst(where.graph.commitment))
    offer(where, terms)
    mallory = asserter(where)
    key = assertion_of(mallory, LIE, terms)
    mallory.library.lies[key] = LIE  # type: ignore[attr-defined]
    if "local" in profiles:
        rounds(mallory, bob)
        assert status(bob, key) is Status.SLASHED
    else:
        rounds(bob)
        assert bob.store.sent() == []


def test_an_own_assertion_under_any_terms_is_defended() -> None:
    where = site()
    offer(where, HASTE)
    alice = player(where, ALICE)
    key = assertion_of(alice, TRUTH, HASTE)
    mallory = asserter(where)
    mallory.follower.sync()
    mallory.sender.send(calls.call(mallory.follower.ledger, moves.Challenge(key, word(0))), "Challenge", "", stake=0)
    rounds(alice)
    where.node.tick(HASTE.window_s + 1)
    rounds(alice)
    assert status(alice, key) is Status.FINAL
    assert alice.score() == (1, 0)


@pytest.mark.parametrize(
    "name", ["challenger_bond", "request_fee", "defence_reward", "asserter_clock_s", "extension_s"]
)
def test_terms_stay_near_the_profiles_own(name: str) -> None:
    profile = PROFILES["fast-l2"]
    good = terms_for(profile, WORST)
    assert objection(good, [profile], WORST) is None
    room, most = replace(good, challenger_bond=MULTIPLE * good.challenger_bond), MULTIPLE * getattr(good, name)
    assert objection(replace(room, **{name: most}), [profile], WORST) is None
    over = {"challenger_bond": 2 * most + 2} if name == "defence_reward" else {}
    assert "4 times what it should be" in str(objection(replace(room, **{**over, name: most + 1}), [profile], WORST))


def test_a_bundle_s_terms_bound_the_asserter_s_bond() -> None:
    profile = PROFILES["fast-l2"]
    good = terms_for(profile, WORST)
    dear = replace(good, asserter_bond=MULTIPLE * good.asserter_bond + 1)
    assert objection(dear, [profile], WORST) is None
    assert "asserter_bond" in str(objection(dear, [profile], WORST, TO_ASSERT))
    assert objection(good, [], WORST) == "no profile was given"
    assert "fast-l2" in str(objection(HASTE, named(["fast-l2", "l1-safe"]), WORST))
    with pytest.raises(ValueError, match="a profile is one of"):
        named(["fast"])


def test_a_registry_that_answers_nothing_leaves_terms_unaccepted(monkeypatch: pytest.MonkeyPatch) -> None:
    where = site()
    offer(where, FEE)
    mallory = asserter(where)
    key = assertion_of(mallory, TRUTH, FEE)
    bob = player(where, BOB)
    bob.follower.sync()
    about = bob.follower.ledger.state.assertions[key]

    def refusing(model: bytes) -> Worst:
        raise ChainError("no")

    with monkeypatch.context() as patch:
        patch.setattr(bob.caution, "worst", refusing)
        assert "the registry" in str(bob.caution.against(about))
    assert "local" not in str(bob.caution.against(about))  # asked again


def test_fees_of_requests_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    where = site()
    alice = player(where, ALICE, habits=Habits(watch=False))
    first = assertion(alice, TRUTH, give_input=False)
    bob = player(where, BOB, habits=Habits(max_fees=TERMS.request_fee))
    bob.round()
    assert bob.stake() == 0
    rounds(bob)
    assert bob.stake() == TERMS.challenger_bond
    other = assertion(alice, OTHER, give_input=False)
    with caplog.at_level(logging.INFO, LOGGER):
        rounds(bob)
    asked = [each.about for each in bob.store.sent() if each.kind == "RequestInput"]
    assert asked == [first.hex()]
    assert other.hex() not in asked
    assert any("NOT REQUESTED" in record.getMessage() for record in caplog.records)


def test_a_flood_without_bonds_delays_no_answer_and_no_check() -> None:
    """Bondless assertions are not run at all, and ones that are over are not either."""
    where = site()
    free = replace(FREE, window_s=20_000)
    for terms in (free, FREE):
        offer(where, terms)
    alice = player(where, ALICE)
    own = assertion(alice, TRUTH)
    alice.round()
    mallory = asserter(where)
    for number in range(6):
        assertion_of(mallory, LIE, free, nonce=number)
    mallory.follower.sync()
    mallory.sender.send(calls.call(mallory.follower.ledger, moves.Challenge(own, bytes(32))), "Challenge", "", stake=0)
    with noting(alice) as seen:
        alice.round()
        assert seen == ["RevealList"]


def test_what_is_over_is_not_run_and_most_at_stake_comes_first() -> None:
    where = site()
    dear = replace(TERMS, asserter_bond=2 * TERMS.asserter_bond)
    short = replace(TERMS, window_s=1)
    habits = Habits(terms=frozenset({dear.digest(), short.digest()}))
    for terms in (dear, short):
        offer(where, terms)
    mallory = asserter(where)
    for number in range(4):
        assertion_of(mallory, TRUTH, short, nonce=number)
    where.node.tick(100)
    last, first = assertion(mallory, LIE), assertion_of(mallory, LIE, dear)
    bob = player(where, CAROL, habits=habits)
    order: list[bytes] = []
    check = bob.library.check

    def noting_one(about: Assertion, data: Any) -> Checked:
        order.append(about.id)
        return check(about, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bob.library, "check", noting_one)
        for _ in range(6):
            bob.round()
    assert order == [first, last]
