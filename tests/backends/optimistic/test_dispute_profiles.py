"""Profiles: the inequalities hold for the terms they give, and fail where one number is too small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends.optimistic.dispute_world import honest, shipped, tall
from vml.backends.optimistic.profiles import (
    DAY,
    LIST_GAS,
    MOVE_GAS,
    PROFILES,
    PROOF_GAS,
    REVEAL_GAS,
    ROOT_GAS,
    Profile,
    check_terms,
    resolution_bound_s,
    terms_for,
    worst_case,
)

ROOT = Path(__file__).parents[3]
WORST = worst_case(honest(tall()).graph, step_gas=1_500_000)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_terms_satisfy_the_inequalities(profile: Profile) -> None:
    terms = terms_for(profile, WORST)
    check_terms(terms, profile, WORST)
    assert terms.asserter_bond - terms.slash_reward >= terms.asserter_bond / 2
    assert terms.challenger_bond - terms.defence_reward >= terms.challenger_bond / 2


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("asserter_clock_s", "asserter clock"),
        ("challenger_clock_s", "challenger clock"),
        ("extension_s", "extension"),
        ("window_s", "window"),
        ("defence_reward", "reward of a defence"),
        ("slash_reward", "reward of a slash"),
        ("request_fee", "fee of a request"),
    ],
)
def test_one_less_is_refused(profile: Profile, name: str, says: str) -> None:
    terms = terms_for(profile, WORST)
    with pytest.raises(ValueError, match=says):
        check_terms(replace(terms, **{name: getattr(terms, name) - 1}), profile, WORST)


def test_blobs_must_outlive_every_dispute() -> None:
    profile = replace(PROFILES["fast-l2"], retention_s=18 * DAY)
    bound = resolution_bound_s(terms_for(profile, WORST), WORST)
    assert terms_for(replace(profile, retention_s=bound + 1), WORST)
    with pytest.raises(ValueError, match="blobs are gone"):
        terms_for(replace(profile, retention_s=bound), WORST)


def test_the_worst_dispute_counts_the_deepest_tensor() -> None:
    assert WORST.asserter_moves == 4  # the list, two nodes, a leaf
    assert WORST.challenger_moves == 5
    small = worst_case(honest(shipped("breast-cancer-mlp")).graph, 100_000)
    assert small.asserter_moves == 2
    assert small.challenger_gas < WORST.challenger_gas
    dearer = worst_case(honest(tall()).graph, step_gas=1_600_000)
    assert dearer.challenger_gas == WORST.challenger_gas + 100_000


def test_bonds_follow_the_gas_price() -> None:
    profile = PROFILES["fast-l2"]
    cheap, dear = terms_for(profile, WORST), terms_for(replace(profile, gas_price=2 * profile.gas_price), WORST)
    assert dear.challenger_bond == 2 * cheap.challenger_bond
    assert dear.asserter_bond > cheap.asserter_bond


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_nothing_is_escalated_unless_the_terms_say_so(profile: Profile) -> None:
    plain = terms_for(profile, WORST)
    assert (plain.escalated_window_s, plain.escalation) == (0, bytes(32))
    terms = terms_for(profile, WORST, b"\7" * 32)
    assert terms.escalation == b"\7" * 32
    assert terms.escalated_window_s == terms.window_s - profile.censorship_s
    assert resolution_bound_s(terms, WORST) == resolution_bound_s(plain, WORST)
    with pytest.raises(ValueError, match="escalated window"):
        check_terms(replace(terms, escalated_window_s=terms.escalated_window_s - 1), profile, WORST)


def test_money_that_the_contract_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="96 bits"):
        terms_for(replace(PROFILES["local"], gas_price=10**21), replace(WORST, input_gas=1 << 30))


def test_the_moves_that_were_measured_cost_no_more_than_is_reckoned_with() -> None:
    rows = json.loads((ROOT / "benchmarks" / "results" / "dispute_gas.json").read_text())["models"]
    assert len(rows) >= 5
    for row in rows:
        gas = row["dearest_moves"]
        assert max(gas["challenge"], gas["pickOperator"], gas.get("pickChild", 0)) <= MOVE_GAS
        assert gas["revealList"] <= LIST_GAS + ROOT_GAS * row["operators"]
        assert max(gas.get("revealNode", 0), gas["revealLeaf"]) <= REVEAL_GAS
        assert gas["proveStep"] <= row["step_bound"] + PROOF_GAS
