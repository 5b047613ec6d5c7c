"""Two engines, one verdict: on forged platforms of every standing, and on quotes with any byte altered."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from tests.tee.forge_dcap import ANCHORS, DAY, NOW, ROOT_DER, Forgery, level, platform_level
from tests.tee.two_engines import check_altered, opinions, root_in
from vml.errors import VerificationError
from vml.tee import verify_evidence
from vml.tee.dcap.second import Opinion, disagreement, second_opinion
from vml.tee.reasons import Reason, malformed, rejected
from vml.tee.verified import TcbStatus

STATUSES = [
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
]


def random_platform(rng: random.Random) -> Forgery:
    """A platform, module and quoting enclave somewhere among levels of every status."""
    levels = []
    for svn in sorted(rng.sample(range(1, 8), rng.randint(1, 4)), reverse=True):
        status = "UpToDate" if not levels else rng.choice(STATUSES)
        tdx = max(svn + rng.randint(-1, 1), 0)
        levels.append(platform_level(svn, svn, tdx, status, f"INTEL-SA-{svn:05}"))
    modules = [level({"isvsvn": 6}), level({"isvsvn": 3}, "OutOfDate", "INTEL-SA-10003")]
    enclaves = [level({"isvsvn": 6}), level({"isvsvn": 3}, "OutOfDate", "INTEL-SA-20003")]
    if rng.random() < 0.1:
        rng.choice([modules, enclaves, levels])[-1]["tcbStatus"] = "Revoked"

    def tcb_info(item: dict[str, Any]) -> None:
        item["tcbLevels"] = levels
        if item["id"] == "TDX":
            item["tdxModuleIdentities"][0]["tcbLevels"] = modules
        else:
            for entry in levels:
                entry["tcb"].pop("tdxtcbcomponents")

    def tee_tcb_svn() -> bytes:
        version = rng.choice([0, 1, 1, 1])
        return bytes([rng.randint(2, 8), version] + [rng.randint(1, 8)] + [rng.randint(4, 8)] * 13)

    launch = tee_tcb_svn()
    kind = rng.choice([{"tdx": False, "version": 3}, {"version": 4}, {"version": 5}, {"version": 5, "body_type": 2}])
    body = {} if not kind.get("tdx", True) else {0: launch}
    if kind == {"version": 5}:
        body[584] = rng.choice([launch, tee_tcb_svn(), bytes([8, launch[1]]) + bytes([8]) * 14])
    return Forgery(
        **kind,
        body=body,
        qe={258: bytes([rng.randint(2, 7)])},
        svns=tuple(rng.randint(4, 8) for _ in range(16)),
        pce_svn=rng.randint(2, 8),
        tcb_info=tcb_info,
        identity=lambda item: item.update(tcbLevels=enclaves),
    )


def check_platforms(count: int, seed: int) -> None:
    rng, met = random.Random(seed), set()
    for number in range(count):
        found, opinion = opinions(random_platform(rng).evidence(), ANCHORS, NOW, ROOT_DER)
        assert disagreement(found, opinion) == "", number
        assert not opinion.own_policy
        met.add(opinion.status or opinion.error.splitlines()[0])
    assert {"UpToDate", "OutOfDate", "TDRelaunchAdvised", "Verification failed: No matching TCB level found"} <= met


def test_platforms_of_every_standing() -> None:
    check_platforms(150, 1)


@pytest.mark.slow
def test_many_platforms_of_every_standing() -> None:
    check_platforms(5_000, 2)


@pytest.mark.parametrize("forgery", [Forgery(tdx=False, version=3), Forgery(), Forgery(version=5)])
def test_altered_forgeries(forgery: Forgery) -> None:
    check_altered(forgery.evidence(), ANCHORS, NOW, ROOT_DER, 100, 3)


def test_the_root_in_the_quote_is_looked_at_here() -> None:
    evidence = Forgery().evidence()
    at = evidence.data.rindex(b"\n-----END") - 12
    assert at > root_in(evidence.data)
    data = evidence.data[:at] + bytes([evidence.data[at] ^ 1]) + evidence.data[at + 1 :]
    found, opinion = opinions(replace(evidence, data=data), ANCHORS, NOW, ROOT_DER)
    assert isinstance(found, VerificationError)
    assert opinion.status == "UpToDate"


def test_times_around_the_window() -> None:
    """The second engine does not ask when a revocation list begins, and ends it one second sooner."""
    lists = dict.fromkeys(("root", "ca"), (NOW - 30 * DAY, NOW + 19 * DAY + 7))
    evidence = Forgery(lists=lists).evidence()
    for day in range(-12, 24):
        for second in (-1, 0, 1):
            found, opinion = opinions(evidence, ANCHORS, NOW + day * DAY + second, ROOT_DER)
            assert disagreement(found, opinion) == "", (day, second)


def test_what_a_disagreement_is() -> None:
    good = verify_evidence(Forgery().evidence(), ANCHORS, NOW)
    there = second_opinion(Forgery().evidence(), NOW, ROOT_DER)
    assert disagreement(good, there) == ""
    assert "here, and" in disagreement(good, replace(there, status="OutOfDate"))
    assert "here, and" in disagreement(good, replace(there, advisories=("INTEL-SA-00001",)))
    assert "here, and" in disagreement(good, replace(there, fmspc=bytes(6)))
    assert "refused there" in disagreement(good, Opinion("Verification failed: Signature is invalid"))
    assert disagreement(good, Opinion("Verification failed: Debug mode is enabled")) == ""
    assert "refused here" in disagreement(rejected(Reason.QUOTE_SIGNATURE), there)
    assert disagreement(malformed("quote"), there) == ""
    assert disagreement(rejected(Reason.QUOTE_SIGNATURE), Opinion("no")) == ""


def test_a_second_opinion_needs_collateral() -> None:
    with pytest.raises(ValueError, match="collateral"):
        second_opinion(replace(Forgery().evidence(), collateral=None), NOW)


def test_statuses_are_named_alike() -> None:
    assert set(STATUSES) < set(TcbStatus)
