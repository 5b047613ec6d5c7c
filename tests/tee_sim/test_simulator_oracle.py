"""Another implementation reads the simulated quotes: the bytes are right, not only agreed upon."""

from __future__ import annotations

import pytest

from vml.errors import VerificationError
from vml.tee import Evidence, Kind, Verified, verify_evidence
from vml.tee.dcap.second import disagreement, second_opinion
from vml.tee_sim import DEFAULT_SEED, EXPECTED, Fault, anchors, simulate
from vml.tee_sim.dcap import certificate

AT = 1_800_004_321
SEED = DEFAULT_SEED
ROOT = certificate(SEED, "SGX root")
DCAP = (Kind.SGX, Kind.TDX)

# What the other engine says about each fault: part of its error, or the status it gives.
SAID = {
    Fault.DEBUG: "Debug mode is enabled",
    Fault.REVOKED: "CertRevoked",
    Fault.EXPIRED: "CrlExpired",
    Fault.BAD_KEY: "QE report hash mismatch",
    Fault.NO_CRL: "Failed to parse root CA CRL",
    Fault.OUT_OF_DATE: "OutOfDate",
}
# It has no policy, and lets trailing bytes pass.
LET_PASS = {Fault.WRONG_NONCE, Fault.WRONG_MEASUREMENT, Fault.STALE_EVALUATION, Fault.TRAILING_BYTES}


def made(kind: Kind, fault: Fault | None = None, version: int | None = None) -> Evidence:
    return simulate(kind, report_data=bytes(range(64)), seed=SEED, at=AT, fault=fault, version=version)


@pytest.mark.parametrize(("kind", "version"), [(Kind.SGX, None), (Kind.TDX, 4), (Kind.TDX, 5)])
def test_the_other_engine_accepts_it_under_the_test_root_alone(kind: Kind, version: int | None) -> None:
    evidence = made(kind, version=version)
    opinion = second_opinion(evidence, AT, ROOT)
    assert (opinion.error, opinion.status) == ("", "UpToDate")
    assert disagreement(verify_evidence(evidence, anchors(SEED), AT), opinion) == ""  # type: ignore[arg-type]
    assert second_opinion(evidence, AT).error
    assert second_opinion(evidence, AT, certificate("another", "SGX root")).error


@pytest.mark.parametrize("kind", DCAP)
@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in LET_PASS])
def test_the_other_engine_notices_the_fault(kind: Kind, fault: Fault) -> None:
    opinion = second_opinion(made(kind, fault), AT, ROOT)
    assert SAID[fault] in (opinion.error or opinion.status)


@pytest.mark.parametrize("kind", DCAP)
@pytest.mark.parametrize("fault", list(EXPECTED[Kind.TDX]))
def test_the_two_engines_agree(kind: Kind, fault: Fault) -> None:
    evidence = made(kind, fault)
    found: Verified | VerificationError
    try:
        found = verify_evidence(evidence, anchors(SEED), AT)
    except VerificationError as error:
        found = error
    assert disagreement(found, second_opinion(evidence, AT, ROOT)) == ""  # type: ignore[arg-type]
