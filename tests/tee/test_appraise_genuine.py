"""Genuine evidence under the default policy with its own reference values: each gets the strict verdict it should."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.tee.genuine import VENDORS, require, time_of, vectors
from tests.tee.judging import hexed, section
from vml.errors import EvidenceRejected
from vml.tee import Evidence, NitroClaims, NvidiaClaims, Reason, SnpClaims, Verified, verify_evidence
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.appraise import AttestationResult, appraise

require()

from tests.tee import test_azure, test_dcap, test_nitro, test_nvidia, test_snp  # noqa: E402 - they need the vectors, too

SUPPORTED = {"sgx", "tdx", "snp", "nitro", "nvidia-gpu"}
JUDGED = [item for item in vectors() if "strict" in item["expected"] and item["kind"] in SUPPORTED]
REASONS = {
    "DEBUG attribute set": Reason.DEBUG_ENABLED,
    "PCR0..2 all zero = debug mode": Reason.DEBUG_ENABLED,
    "SEPT_VE_DISABLE clear (Azure paravisor) and OutOfDate": Reason.ATTRIBUTES_REFUSED,
    "mock root": Reason.UNTRUSTED_ROOT,
    "no matching TCB level": Reason.TCB_LEVEL_NONE,
    "OutOfDate": Reason.TCB_STATUS_REFUSED,
    "ConfigurationAndSWHardeningNeeded": Reason.TCB_STATUS_REFUSED,
}
NO_FWID = "nvidia-h100-545"
FLOORED = "snp-milan-dstack-v3"
SHORT = "snp-milan-vlek-aws"


def evidence_of(item: dict[str, Any]) -> tuple[Evidence, int]:
    """The evidence and the time at which it is to be judged."""
    if item["kind"] in ("sgx", "tdx"):
        return test_dcap.without_trailer(item), time_of(item)
    if item["kind"] == "snp":
        return test_snp.evidence_of(item), test_snp.window_of(item)[1]
    if item["kind"] == "nitro":
        return test_nitro.evidence_of(item), time_of(item)
    return test_nvidia.evidence_of(item), test_nvidia.RIM_TIME


def policy_of(claims: Verified, **rules: Any) -> AppraisalPolicy:
    """The default policy with what this evidence measured; who took it asked with a nonce, or with none."""
    if isinstance(claims, SnpClaims):
        # No vector has AMD's list.
        rules = {"max_vmpl": claims.vmpl, "require_crl": False, **rules}
    fields = {str(claims.kind): {**section(claims), **rules}, "require_nonce": bool(claims.nonce)}
    return AppraisalPolicy.model_validate_json(json.dumps(fields))


def judge(item: dict[str, Any], **rules: Any) -> AttestationResult:
    evidence, at = evidence_of(item)
    claims = verify_evidence(evidence, VENDORS, at)
    return appraise(claims, policy_of(claims, **rules), at, claims.nonce or None)


def reason_of(item: dict[str, Any]) -> Reason:
    expected = item["expected"]
    return REASONS[expected.get("reason", expected.get("tcb"))]


def named(name: str) -> dict[str, Any]:
    return next(item for item in JUDGED if item["id"] == name)


@pytest.mark.parametrize("item", JUDGED, ids=lambda item: item["id"])
def test_the_strict_verdict(item: dict[str, Any]) -> None:
    if item["expected"]["strict"].startswith("accept"):
        found = judge(item, **({"require_fwid": False} if item["id"] == NO_FWID else {}))
        assert found.physical_adversary == "not covered"
        assert not found.simulated
        assert found.not_after == found.claims.not_after
        return
    with pytest.raises(EvidenceRejected) as refused:
        judge(item)
    assert refused.value.reason == reason_of(item)


def test_every_entry_with_a_strict_verdict_is_judged() -> None:
    others = {item["id"] for item in vectors() if "strict" in item["expected"]} - {item["id"] for item in JUDGED}
    assert others == {"cca-example"}


def test_conditions_of_strict_verdicts() -> None:
    """What the manifest says besides accept and reject."""
    assert named(NO_FWID)["expected"]["strict"] == "accept at 2025-06-01 if FWID not required"
    with pytest.raises(EvidenceRejected) as refused:
        judge(named(NO_FWID))
    assert refused.value.reason == Reason.FWID_MISSING

    assert named(FLOORED)["expected"]["strict"].startswith("accept unless a TCB floor is set")
    floor = dict.fromkeys(("boot_loader", "tee", "snp", "microcode"), 255)
    with pytest.raises(EvidenceRejected) as refused:
        judge(named(FLOORED), min_tcb={"Milan": floor})
    assert refused.value.reason == Reason.TCB_TOO_OLD

    assert named(SHORT)["expected"]["strict"].startswith("accept only if verified before VLEK notAfter")
    evidence, last = evidence_of(named(SHORT))
    claims = verify_evidence(evidence, VENDORS, last)
    with pytest.raises(EvidenceRejected) as refused:
        appraise(claims, policy_of(claims), last + 1, claims.nonce)
    assert refused.value.reason == Reason.COLLATERAL_EXPIRED


@pytest.mark.parametrize("item", vectors("azure-vtpm"), ids=lambda item: item["id"])
def test_azures_machines(item: dict[str, Any]) -> None:
    """The manifest states no strict verdict: Azure's TDX clears SEPT_VE_DISABLE, its SEV-SNP is accepted."""
    claims = test_azure.verify(item)
    hardware = str(claims.hardware.kind)
    pinned = {"snp": "measurement", "tdx": "mr_td"}[hardware], "pcr4", "pcr7", "pcr9", "pcr12"
    values = {name: hexed(claims.measurements[name]) for name in pinned}
    rules = {"require_crl": False} if hardware == "snp" else {}
    fields = {"azure": {"measurements": [{"name": "image", "values": values}], hardware: rules}}
    policy = AppraisalPolicy.model_validate_json(json.dumps(fields))
    if hardware == "snp":
        assert appraise(claims, policy, claims.at, claims.nonce).image == "image"
        return
    with pytest.raises(EvidenceRejected) as refused:
        appraise(claims, policy, claims.at, claims.nonce)
    assert refused.value.reason == Reason.ATTRIBUTES_REFUSED


def test_without_amds_list_the_default_policy_refuses() -> None:
    """The manifest's verdicts are those of a policy that says it does without the list, which no vector brings."""
    for item in JUDGED:
        if item["kind"] == "snp":
            with pytest.raises(EvidenceRejected) as refused:
                judge(item, require_crl=True)
            assert refused.value.reason == Reason.CRL_INVALID


def test_a_gpu_without_manifests() -> None:
    item = next(item for item in vectors("nvidia-gpu") if item["id"] != NO_FWID)
    with pytest.raises(EvidenceRejected) as refused:
        judge(item)
    assert refused.value.reason == Reason.RIM_MISSING


@pytest.mark.parametrize("item", JUDGED, ids=lambda item: item["id"])
def test_other_reference_values_and_other_nonces(item: dict[str, Any]) -> None:
    """Accepted evidence is refused for another image, and by a verifier who asked with another nonce."""
    if not item["expected"]["strict"].startswith("accept"):
        return
    evidence, at = evidence_of(item)
    claims = verify_evidence(evidence, VENDORS, at)
    rules: dict[str, Any] = {"require_fwid": False} if isinstance(claims, NvidiaClaims) else {}
    good = policy_of(claims, **rules)
    with pytest.raises(EvidenceRejected) as refused:
        appraise(claims, good, at, b"another nonce")
    assert refused.value.reason == (Reason.NONCE_MISMATCH if claims.nonce is not None else Reason.NONCE_MISSING)
    if isinstance(claims, NvidiaClaims):
        rules["firmware"] = [{"driver": claims.driver_version, "vbios": "96.00.00.00.00"}]
    else:
        wrong = section(claims)["measurements"][0]
        wrong["values"] = {name: hexed(bytes(len(value) // 2 - 1)) for name, value in wrong["values"].items()}
        rules["measurements"] = [wrong]
    with pytest.raises(EvidenceRejected) as refused:
        appraise(claims, policy_of(claims, **rules), at, claims.nonce or None)
    assert refused.value.reason == Reason.MEASUREMENT_MISMATCH


def test_documents_without_a_nonce_are_refused_by_default() -> None:
    for item in JUDGED:
        if item["kind"] == "nitro" and item["genuine"] and item["fields"]["nonce"] is None:
            evidence, at = evidence_of(item)
            claims = verify_evidence(evidence, VENDORS, at)
            assert isinstance(claims, NitroClaims)
            policy = AppraisalPolicy.model_validate_json(json.dumps({"nitro": section(claims)}))
            with pytest.raises(EvidenceRejected) as refused:
                appraise(claims, policy, at, b"nonce")
            assert refused.value.reason == Reason.NONCE_MISSING
