"""Genuine evidence of every kind, altered, and a policy that accepts it: for the tests of appraisal."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from tests.tee import forge_azure, forge_dcap, forge_nitro, forge_nvidia, forge_snp
from vml.errors import EvidenceRejected
from vml.tee import (
    AzureClaims,
    Evidence,
    NitroClaims,
    NvidiaClaims,
    SgxClaims,
    SnpClaims,
    TdxClaims,
    TrustAnchors,
    Verified,
    verify_evidence,
)
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.appraise import AttestationResult, appraise

NOW = forge_dcap.NOW
DAY = 86_400
LISTED = (NOW - DAY, NOW + 900 * DAY)
"""From when until when AMD's list is good."""
NONCE = bytes(range(32))
ANCHORS = TrustAnchors(
    root
    for module in (forge_dcap, forge_snp, forge_nitro, forge_nvidia)
    for root in module.ANCHORS.roots  # type: ignore[attr-defined]
)
KINDS = ("sgx", "tdx", "snp", "nitro", "azure", "nvidia")


def forged(kind: str) -> Evidence:
    made: dict[str, Callable[[], Evidence]] = {
        "sgx": forge_dcap.Forgery(tdx=False, version=3).evidence,
        "tdx": forge_dcap.Forgery(version=5).evidence,
        "snp": forge_snp.SnpForgery(crl=LISTED).evidence,
        "nitro": forge_nitro.NitroForgery().evidence,
        "azure": forge_azure.AzureForgery(snp=forge_snp.SnpForgery(crl=LISTED)).evidence,
        "nvidia": forge_nvidia.GpuForgery().evidence,
    }
    return made[kind]()


@cache
def verified(kind: str) -> Any:
    return verify_evidence(forged(kind), ANCHORS, NOW)


def sgx(**changes: Any) -> SgxClaims:
    return replace(verified("sgx"), **changes)


def tdx(**changes: Any) -> TdxClaims:
    return replace(verified("tdx"), **changes)


def snp(**changes: Any) -> SnpClaims:
    return replace(verified("snp"), **changes)


def nitro(**changes: Any) -> NitroClaims:
    return replace(verified("nitro"), **{"document_nonce": NONCE, **changes})


def azure(**changes: Any) -> AzureClaims:
    return replace(verified("azure"), **changes)


def nvidia(**changes: Any) -> NvidiaClaims:
    return replace(verified("nvidia"), **changes)


def tcb(**changes: Any) -> Any:
    return replace(tdx().tcb, **changes)


PINNED = {
    "sgx": ("mr_enclave",),
    "tdx": ("mr_td", "rtmr1", "rtmr2"),
    "snp": ("measurement",),
    "nitro": ("pcr0",),
    "azure": ("measurement", "pcr4", "pcr7", "pcr8", "pcr9"),
}


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def image(claims: Verified, name: str = "image", **changes: Any) -> dict[str, Any]:
    """Reference values of what these claims measured."""
    values = {each: hexed(claims.measurements[each]) for each in PINNED[claims.kind]}
    return {"name": name, "values": values, **changes}


def section(claims: Verified) -> dict[str, Any]:
    if isinstance(claims, NvidiaClaims):
        return {"firmware": [{"driver": claims.driver_version, "vbios": claims.vbios_version}]}
    found: dict[str, Any] = {"measurements": [image(claims)]}
    return {**found, "snp": {}} if isinstance(claims, AzureClaims) else found


def policy_for(claims: Verified, rules: dict[str, Any] | None = None, **changes: Any) -> AppraisalPolicy:
    """The default policy with these claims' reference values."""
    fields = {str(claims.kind): {**section(claims), **(rules or {})}, **changes}
    return AppraisalPolicy.model_validate_json(json.dumps(fields))


def judged(claims: Verified, policy: AppraisalPolicy | None = None, **changes: Any) -> AttestationResult:
    arguments = {"at": NOW, "nonce": claims.nonce, **changes}
    return appraise(claims, policy or policy_for(claims), **arguments)


def refused(claims: Verified, policy: AppraisalPolicy | None = None, **changes: Any) -> str:
    with pytest.raises(EvidenceRejected) as error:
        judged(claims, policy, **changes)
    return error.value.reason


GOOD = {"sgx": sgx, "tdx": tdx, "snp": snp, "nitro": nitro, "azure": azure, "nvidia": nvidia}
