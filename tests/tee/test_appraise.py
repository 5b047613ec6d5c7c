"""Every rule of an appraisal policy: what it accepts, what it refuses, what it does where the evidence is silent."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.tee import forge_azure, forge_dcap, forge_nitro, forge_nvidia, forge_snp
from vml.errors import EvidenceRejected
from vml.tee import (
    AzureClaims,
    Evidence,
    NitroClaims,
    NvidiaClaims,
    Reason,
    SgxClaims,
    SnpClaims,
    TdxClaims,
    TrustAnchors,
    Verified,
    Window,
    verify_evidence,
)
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.appraise import MAX_SKEW_S, AttestationResult, appraise, forecast
from vml.tee.explain import explain
from vml.tee.verified import LogEvent, SnpTcb, TcbStatus

NOW = forge_dcap.NOW
DAY = 86_400
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
        "snp": forge_snp.SnpForgery().evidence,
        "nitro": forge_nitro.NitroForgery().evidence,
        "azure": forge_azure.AzureForgery().evidence,
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
    "azure": ("measurement", "pcr4"),
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


@pytest.mark.parametrize("kind", KINDS)
def test_good_evidence_of_every_kind(kind: str) -> None:
    claims = GOOD[kind]()
    policy = policy_for(claims)
    found = judged(claims, policy)
    assert found.claims == claims
    assert found.policy_id == policy.policy_id
    assert found.nonce_checked
    assert not found.simulated
    assert (found.not_after, found.limited_by) == (claims.not_after, claims.limited_by)
    assert found.physical_adversary == "not covered"
    assert "physical adversary: not covered" in found.lines()
    assert found.as_json()["physical_adversary"] == "not covered"
    assert found.as_json()["simulated"] is False
    with pytest.raises(AttributeError):
        found.at = 0  # type: ignore[misc]


# Step 1.


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_policy_refuses(kind: str) -> None:
    assert refused(GOOD[kind](), AppraisalPolicy()) == Reason.POLICY_INCOMPLETE
    assert refused(GOOD[kind](), AppraisalPolicy.from_yaml("")) == Reason.POLICY_INCOMPLETE


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_without_a_section(kind: str) -> None:
    other = policy_for(snp() if kind != "snp" else tdx())
    assert refused(GOOD[kind](), other) == Reason.KIND_NOT_ALLOWED


@pytest.mark.parametrize("kind", KINDS)
def test_a_section_without_reference_values(kind: str) -> None:
    assert refused(GOOD[kind](), AppraisalPolicy.from_yaml(f"{kind}: {{}}")) == Reason.POLICY_INCOMPLETE


# Step 2.


@pytest.mark.parametrize("kind", KINDS)
def test_simulated_evidence(kind: str) -> None:
    claims = replace(GOOD[kind](), simulated=True)
    assert refused(claims) == Reason.SIMULATED_EVIDENCE
    found = judged(claims, policy_for(claims, allow_simulated=True))
    assert found.simulated
    assert found.as_json()["simulated"] is True
    assert "simulated: YES, this shows nothing" in found.lines()


# Step 3.


def test_everything_is_valid_at_the_time() -> None:
    claims = tdx(window=Window(NOW - 5, "tcb_info", NOW + 5, "pck_crl"))
    for at in (NOW - 5, NOW + 5):
        assert judged(claims, at=at).at == at
    assert refused(claims, at=NOW + 6) == Reason.COLLATERAL_EXPIRED
    assert refused(claims, at=NOW - 6) == Reason.COLLATERAL_NOT_YET_VALID


def test_no_limit_is_no_limit() -> None:
    found = judged(tdx(window=Window(None, "", None, "")))
    assert found.not_after is None
    assert forecast(found, NOW) == "nothing that this key rests on expires"


# Step 4.


@pytest.mark.parametrize("kind", KINDS)
def test_the_nonce(kind: str) -> None:
    claims = GOOD[kind]()
    assert claims.nonce
    assert refused(claims, nonce=bytes(len(claims.nonce))) == Reason.NONCE_MISMATCH
    assert refused(claims, nonce=claims.nonce[:-1]) == Reason.NONCE_MISMATCH
    assert refused(claims, nonce=None) == Reason.NONCE_MISSING
    assert refused(claims, nonce=b"") == Reason.NONCE_MISSING
    unasked = policy_for(claims, require_nonce=False)
    found = judged(claims, unasked, nonce=None)
    assert not found.nonce_checked
    assert "nonce: not asked for, may be replayed" in found.lines()
    assert refused(claims, unasked, nonce=bytes(32)) == Reason.NONCE_MISMATCH
    assert refused(claims, unasked, nonce=b"") == Reason.NONCE_MISSING


def test_evidence_without_a_nonce() -> None:
    claims = nitro(document_nonce=None)
    assert refused(claims, nonce=NONCE) == Reason.NONCE_MISSING
    assert not judged(claims, policy_for(claims, require_nonce=False), nonce=None).nonce_checked


# Step 5.


def test_the_age_by_its_own_clock() -> None:
    claims = nitro(timestamp_ms=(NOW - 100) * 1000 + 999)
    found = judged(claims, policy_for(claims, max_age_s=100))
    assert (found.not_after, found.limited_by) == (NOW, "maximum age")
    assert refused(claims, policy_for(claims, max_age_s=99)) == Reason.EVIDENCE_TOO_OLD


def test_the_age_by_the_nonce() -> None:
    policy = policy_for(tdx(), max_age_s=100)
    assert judged(tdx(), policy, nonce_issued_at=NOW - 100).limited_by == "maximum age"
    assert refused(tdx(), policy, nonce_issued_at=NOW - 101) == Reason.EVIDENCE_TOO_OLD
    assert judged(tdx(), policy, nonce_issued_at=NOW - 30).not_after == NOW + 70


def test_an_unknown_age() -> None:
    assert refused(tdx(), policy_for(tdx(), max_age_s=1 << 30)) == Reason.EVIDENCE_TOO_OLD
    unasked = policy_for(tdx(), max_age_s=100, require_nonce=False)
    assert refused(tdx(), unasked, nonce=None, nonce_issued_at=NOW) == Reason.EVIDENCE_TOO_OLD


def test_evidence_from_the_future() -> None:
    ahead = nitro(timestamp_ms=(NOW + MAX_SKEW_S) * 1000)
    assert judged(ahead, policy_for(ahead, max_age_s=10)).not_after == NOW + 10
    further = nitro(timestamp_ms=(NOW + MAX_SKEW_S + 1) * 1000)
    assert refused(further, policy_for(further, max_age_s=10)) == Reason.EVIDENCE_TOO_OLD


def test_the_younger_of_two_bounds_counts() -> None:
    claims = nitro(timestamp_ms=(NOW - 500) * 1000)
    assert judged(claims, policy_for(claims, max_age_s=100), nonce_issued_at=NOW - 10).not_after == NOW + 90


# Step 6.


def test_manifests_of_a_gpu() -> None:
    assert judged(nvidia()).image == f"driver {forge_nvidia.DRIVER}, VBIOS {forge_nvidia.VBIOS}"
    assert refused(nvidia(matched=None)) == Reason.RIM_MISSING


def test_the_firmware_id_of_a_gpu() -> None:
    assert refused(nvidia(fwid=None)) == Reason.FWID_MISSING
    assert judged(nvidia(fwid=None), policy_for(nvidia(), {"require_fwid": False})).claims.kind == "nvidia"


# Step 7.


DEBUG: dict[str, Verified] = {
    "sgx": sgx(attributes=bytes([7]) + bytes(15)),
    "tdx": tdx(td_attributes=bytes.fromhex("0100001000000000")),
    "tdx, another bit": tdx(td_attributes=bytes.fromhex("8000001000000000")),
    "snp": snp(policy=0xB0000),
    "nitro": nitro(pcrs={**nitro().pcrs, 0: bytes(48), 1: bytes(48), 2: bytes(48)}),
    "azure": azure(hardware=snp(policy=0xB0000)),
}


@pytest.mark.parametrize("name", DEBUG)
def test_debug(name: str) -> None:
    assert refused(DEBUG[name]) == Reason.DEBUG_ENABLED


# Step 8.


def test_sept_ve_disable() -> None:
    claims = tdx(td_attributes=bytes(8))
    assert refused(claims) == Reason.ATTRIBUTES_REFUSED
    assert judged(claims, policy_for(claims, {"require_sept_ve_disable": False})).image == "image"


def test_domains_that_move() -> None:
    claims = tdx(td_attributes=bytes.fromhex("0000003000000000"))
    assert refused(claims) == Reason.ATTRIBUTES_REFUSED
    assert refused(claims, policy_for(claims, {"require_sept_ve_disable": False})) == Reason.ATTRIBUTES_REFUSED


def test_guests_that_move() -> None:
    claims = snp(policy=0x70000)
    assert refused(claims) == Reason.ATTRIBUTES_REFUSED
    assert judged(claims, policy_for(claims, {"allow_migration": True})).image == "image"
    below = azure(hardware=replace(azure().hardware, policy=0x70000))
    assert refused(below) == Reason.ATTRIBUTES_REFUSED
    assert judged(below, policy_for(below, {"snp": {"allow_migration": True}})).image == "image"


# Step 9.


def test_service_domains() -> None:
    assert judged(tdx(mr_service_td=bytes(48))).image == "image"
    assert refused(tdx(mr_service_td=bytes(47) + b"\x01")) == Reason.SERVICE_TD_PRESENT


def test_reports_before_service_domains() -> None:
    """Version 4 has no such field, and no such domains."""
    assert judged(tdx(mr_service_td=None)).image == "image"


# Step 10.


def test_the_privilege_level() -> None:
    assert refused(snp(vmpl=1)) == Reason.VMPL_REFUSED
    assert judged(snp(vmpl=1), policy_for(snp(), {"max_vmpl": 1})).image == "image"
    assert refused(snp(vmpl=2), policy_for(snp(), {"max_vmpl": 1})) == Reason.VMPL_REFUSED


# Step 11.


@pytest.mark.parametrize("kind", PINNED)
def test_measurements(kind: str) -> None:
    """Each value counts, and all of one image together."""
    claims = GOOD[kind]()
    good = image(claims)
    for name in good["values"]:
        other = {**good["values"], name: hexed(bytes(len(claims.measurements[name])))}
        policy = policy_for(claims, {"measurements": [{"name": "other", "values": other}]})
        with pytest.raises(EvidenceRejected, match=name) as error:
            judged(claims, policy)
        assert error.value.reason == Reason.MEASUREMENT_MISMATCH
    half = {**good["values"], name: other[name]}
    several = [{"name": "other", "values": half}, good]
    assert judged(claims, policy_for(claims, {"measurements": several})).image == "image"


def test_a_measurement_that_is_not_there() -> None:
    claims = nitro()
    pcrs = {index: value for index, value in claims.pcrs.items() if index != 8}
    wanted = image(claims)
    wanted["values"]["pcr8"] = hexed(bytes(48))
    assert refused(replace(claims, pcrs=pcrs), policy_for(claims, {"measurements": [wanted]})) == (
        Reason.MEASUREMENT_MISMATCH
    )


def test_measurements_that_end() -> None:
    claims = tdx()
    ended = policy_for(claims, {"measurements": [image(claims, not_after=NOW - 1)]})
    assert refused(claims, ended) == Reason.MEASUREMENT_EXPIRED
    last = policy_for(claims, {"measurements": [image(claims, "old", not_after=NOW)]})
    assert (judged(claims, last).not_after, judged(claims, last).limited_by) == (NOW, "image old")
    longest = [image(claims, "ended", not_after=NOW - 1), image(claims, "later", not_after=NOW + 1), image(claims, "a")]
    assert judged(claims, policy_for(claims, {"measurements": longest})).image == "a"
    assert judged(claims, policy_for(claims, {"measurements": longest[:2]})).image == "later"


def test_firmware_of_a_gpu() -> None:
    pair = section(nvidia())["firmware"][0]
    for wrong in ({**pair, "driver": "1"}, {**pair, "vbios": "1"}):
        assert refused(nvidia(), policy_for(nvidia(), {"firmware": [wrong]})) == Reason.MEASUREMENT_MISMATCH
    assert judged(nvidia(), policy_for(nvidia(), {"firmware": [{**pair, "vbios": pair["vbios"].lower()}]}))
    ended = policy_for(nvidia(), {"firmware": [{**pair, "not_after": NOW - 1}]})
    assert refused(nvidia(), ended) == Reason.MEASUREMENT_EXPIRED
    last = judged(nvidia(), policy_for(nvidia(), {"firmware": [{**pair, "not_after": NOW + 1}]}))
    assert last.not_after == NOW + 1


# Step 12.


def event(name: str, content: bytes, **changes: Any) -> LogEvent:
    made = {"register": 3, "event_type": 1, "digest": bytes(48), "name": name, "content": content, "bound": True}
    return LogEvent(**{**made, **changes})


APP = {"events": {"app": ["0x01", "0x02"]}}
ONCE = event("app", b"\x02")


def test_events() -> None:
    policy = policy_for(tdx(), APP)
    assert judged(tdx(events=(event("other", b"\x09"), ONCE)), policy).image == "image"
    assert judged(tdx(events=None)).image == "image"
    assert refused(tdx(events=None), policy) == Reason.EVENT_LOG_MISSING


@pytest.mark.parametrize(
    "log",
    [
        (),
        (event("other", b"\x02"),),
        (event("app", b"\x03"),),
        (event("app", b"\x02", bound=False),),
        (event("app", b"\x02", register=2),),
        (ONCE, ONCE),
        (ONCE, event("app", b"\x03")),
    ],
    ids=["none", "name", "content", "unbound", "register", "twice", "two"],
)
def test_events_that_do_not_count(log: tuple[LogEvent, ...]) -> None:
    assert refused(tdx(events=log), policy_for(tdx(), APP)) == Reason.MEASUREMENT_MISMATCH


# Step 13.


@pytest.mark.parametrize("kind", ["sgx", "tdx"])
@pytest.mark.parametrize("status", list(TcbStatus))
def test_tcb_statuses(status: TcbStatus, kind: str) -> None:
    claims = replace(GOOD[kind](), tcb=tcb(status=status))
    if status == TcbStatus.UP_TO_DATE:
        assert judged(claims).image == "image"
        return
    assert refused(claims) == Reason.TCB_STATUS_REFUSED
    if status != TcbStatus.REVOKED:
        both = policy_for(claims, {"tcb_statuses": ["UpToDate", str(status)]})
        assert judged(claims, both).image == "image"


def test_a_revoked_tcb_cannot_be_accepted() -> None:
    with pytest.raises(ValueError, match="revoked"):
        AppraisalPolicy.from_yaml("tdx: {tcb_statuses: [UpToDate, Revoked]}")


def test_advisories() -> None:
    claims = tdx(tcb=tcb(advisories=("INTEL-SA-00001", "INTEL-SA-00002")))
    assert refused(claims) == Reason.ADVISORY_REFUSED
    assert refused(claims, policy_for(claims, {"advisories": ["INTEL-SA-00001"]})) == Reason.ADVISORY_REFUSED
    both = {"advisories": ["INTEL-SA-00002", "INTEL-SA-00001", "INTEL-SA-00003"]}
    assert judged(claims, policy_for(claims, both)).image == "image"


def test_the_evaluation_number() -> None:
    claims = tdx()
    number = claims.tcb.evaluation_data_number
    assert judged(claims, policy_for(claims, {"min_evaluation_number": number})).image == "image"
    higher = policy_for(claims, {"min_evaluation_number": number + 1})
    assert refused(claims, higher) == Reason.EVALUATION_NUMBER_TOO_LOW


# Step 14.

LOW = SnpTcb(3, 0, 8, 115)
FLOOR = {"boot_loader": 3, "tee": 0, "snp": 8, "microcode": 115}


def test_the_tcb_of_amd() -> None:
    claims = snp(tcb=LOW, committed_tcb=LOW)
    assert judged(claims, policy_for(claims, {"min_tcb": {"Milan": FLOOR}})).image == "image"
    for name in ("boot_loader", "tee", "snp", "microcode"):
        higher = policy_for(claims, {"min_tcb": {"Milan": {**FLOOR, name: getattr(LOW, name) + 1}}})
        with pytest.raises(EvidenceRejected, match=name) as error:
            judged(claims, higher)
        assert error.value.reason == Reason.TCB_TOO_OLD
    for part in ("tcb", "committed_tcb"):
        below = replace(claims, **{part: replace(LOW, snp=7)})
        assert refused(below, policy_for(claims, {"min_tcb": {"Milan": FLOOR}})) == Reason.TCB_TOO_OLD


def test_the_tcb_of_another_product() -> None:
    assert refused(snp(), policy_for(snp(), {"min_tcb": {"Genoa": {}}})) == Reason.TCB_TOO_OLD


def test_a_component_that_is_not_there() -> None:
    fmc = {"min_tcb": {"Milan": {"fmc": 1}}}
    assert refused(snp(), policy_for(snp(), fmc)) == Reason.TCB_TOO_OLD
    newer = SnpTcb(9, 9, 9, 9, 1)
    assert judged(snp(tcb=newer, committed_tcb=newer), policy_for(snp(), fmc)).image == "image"
    assert refused(snp(tcb=newer, committed_tcb=replace(newer, fmc=0)), policy_for(snp(), fmc)) == Reason.TCB_TOO_OLD


def test_azure_takes_the_rules_of_its_hardware() -> None:
    claims = azure()
    assert refused(claims, policy_for(claims, {"snp": {"min_tcb": {"Genoa": {}}}})) == Reason.TCB_TOO_OLD
    below = azure(hardware=tdx())
    on_tdx = {
        "measurements": [
            {"name": "image", "values": {"mr_td": hexed(tdx().mr_td), "pcr4": hexed(claims.pcrs[4])}},
        ],
        "tdx": {},
    }
    assert judged(below, policy_for(claims, on_tdx)).image == "image"
    assert refused(below, policy_for(claims, {**on_tdx, "snp": {}, "tdx": None})) == Reason.KIND_NOT_ALLOWED
    late = azure(hardware=tdx(tcb=tcb(status=TcbStatus.OUT_OF_DATE)))
    assert refused(late, policy_for(claims, on_tdx)) == Reason.TCB_STATUS_REFUSED


# Step 15.


@pytest.mark.parametrize("kind", ["sgx", "tdx", "snp", "azure", "nvidia"])
def test_platforms(kind: str) -> None:
    claims = GOOD[kind]()
    assert claims.platform_id is not None
    known = {"platform_ids": ["0x00", hexed(claims.platform_id)]}
    assert judged(claims, policy_for(claims, known)).image
    assert refused(claims, policy_for(claims, {"platform_ids": ["0x00"]})) == Reason.PLATFORM_NOT_ALLOWED


def test_platforms_that_hide() -> None:
    assert refused(snp(chip_id=None), policy_for(snp(), {"platform_ids": ["0x00"]})) == Reason.PLATFORM_UNKNOWN
    assert refused(nitro(), policy_for(nitro(), {"platform_ids": ["0x00"]})) == Reason.PLATFORM_UNKNOWN
    assert judged(snp(chip_id=None)).as_json()["platform_id"] is None
    inner = policy_for(azure(), {"snp": {"platform_ids": ["0x00"]}})
    assert refused(azure(), inner) == Reason.PLATFORM_NOT_ALLOWED


# The policy itself.

POLICY = f"""
max_age_s: 600
tdx:
  measurements:
    - name: image 1
      values: {{mr_td: 0x{"11" * 48}, rtmr1: 0x{"22" * 48}, rtmr2: 0x{"33" * 48}}}
      not_after: 2027-06-30T00:00:00Z
  tcb_statuses: [UpToDate, SWHardeningNeeded]
  advisories: [INTEL-SA-00002, INTEL-SA-00001]
  platform_ids: [0x02, 0x01]
"""


def test_a_policy_as_yaml() -> None:
    policy = AppraisalPolicy.from_yaml(POLICY)
    assert policy.tdx is not None
    assert policy.tdx.measurements[0].not_after == 1_814_313_600
    assert policy.tdx.platform_ids == (b"\x01", b"\x02")
    assert policy.max_age_s == 600
    assert policy.require_nonce
    assert not policy.allow_simulated


def test_the_policy_id_is_stable() -> None:
    """One policy, one id: order of sets, defaults written out, other words for one time change nothing."""
    policy = AppraisalPolicy.from_yaml(POLICY)
    same = POLICY.replace("[0x02, 0x01]", "[0x01, 0x02, 0x01]").replace("2027-06-30T00:00:00Z", "1814313600")
    same = same.replace("INTEL-SA-00002, INTEL-SA-00001", "INTEL-SA-00001, INTEL-SA-00002") + "version: 1\n"
    same += "require_nonce: true\n"
    assert AppraisalPolicy.from_yaml(same).policy_id == policy.policy_id
    assert AppraisalPolicy().canonical() == b'{"version":1}'
    assert policy.policy_id.hex() == "5819024bb448b33f4a64ed2aa34c00619b27d5b0e0d292f8783d29580fd66f91"
    changes = [
        POLICY.replace("600", "601"),
        POLICY.replace("11" * 48, "12" * 48),
        POLICY.replace("2027", "2028"),
        POLICY.replace(", SWHardeningNeeded", ""),
        POLICY + "require_nonce: false\n",
        POLICY + "allow_simulated: true\n",
        POLICY + "snp: {}\n",
    ]
    ids = {AppraisalPolicy.from_yaml(text).policy_id for text in changes}
    assert len(ids | {policy.policy_id}) == len(changes) + 1


EVERY = "".join(f"{kind}: {{}}\n" for kind in KINDS)

BROKEN = {
    "unknown field": "other: 1",
    "unknown field of a kind": "tdx: {debug: true}",
    "unknown field of an image": "snp: {measurements: [{name: a, values: {measurement: 0x00}, x: 1}]}",
    "unknown field of Azure's hardware": "azure: {snp: {measurements: []}}",
    "another version": "version: 2",
    "a number for a truth": "require_nonce: 1",
    "a text for a number": "max_age_s: '5'",
    "negative": "max_age_s: -1",
    "unknown measurement": f"nitro: {{measurements: [{{name: a, values: {{pcr32: 0x{'00' * 48}}}}}]}}",
    "too short": "nitro: {measurements: [{name: a, values: {pcr0: 0x00}}]}",
    "code left open": f"tdx: {{measurements: [{{name: a, values: {{mr_td: 0x{'00' * 48}}}}}]}}",
    "only a signer": f"sgx: {{measurements: [{{name: a, values: {{mr_signer: 0x{'00' * 32}}}}}]}}",
    "only the firmware": f"azure: {{snp: {{}}, measurements: [{{name: a, values: {{measurement: 0x{'00' * 48}}}}}]}}",
    "no values": "nitro: {measurements: [{name: a, values: {}}]}",
    "no name": f"nitro: {{measurements: [{{values: {{pcr0: 0x{'00' * 48}}}}}]}}",
    "one name twice": "nitro: {measurements: [" + f"{{name: a, values: {{pcr0: 0x{'00' * 48}}}}}," * 2 + "]}",
    "hardware left open": "azure: {measurements: [{name: a, values: "
    + f"{{measurement: 0x{'00' * 48}, pcr4: 0x{'00' * 32}}}}}]}}",
    "no platforms": "snp: {platform_ids: []}",
    "empty platform": "snp: {platform_ids: [0x]}",
    "not hexadecimal": "snp: {platform_ids: [0xzz]}",
    "half a byte": "snp: {platform_ids: [0x1]}",
    "spaces": "snp: {platform_ids: ['0x01 02']}",
    "upper case": "snp: {platform_ids: [0xAB]}",
    "no prefix": "snp: {platform_ids: ['ab']}",
    "a number": "snp: {platform_ids: [1]}",
    "unknown status": "tdx: {tcb_statuses: [Fine]}",
    "no status": "tdx: {tcb_statuses: []}",
    "a status alone": "tdx: {tcb_statuses: UpToDate}",
    "unknown product": "snp: {min_tcb: {Rome: {}}}",
    "no product": "snp: {min_tcb: {}}",
    "svn out of range": "snp: {min_tcb: {Milan: {snp: 256}}}",
    "vmpl out of range": "snp: {max_vmpl: 4}",
    "no events": "tdx: {events: {}}",
    "no time": "nvidia: {firmware: [{driver: a, vbios: b, not_after: soon}]}",
    "time without a zone": "nvidia: {firmware: [{driver: a, vbios: b, not_after: '2027-01-01T00:00:00'}]}",
    "anchors": "sgx: &a {}\ntdx: *a",
    "twice": "sgx: {}\nsgx: {}",
    "a list": "[]",
    "not YAML": "{",
}


@pytest.mark.parametrize("name", BROKEN)
def test_policies_that_are_not_read(name: str) -> None:
    with pytest.raises(ValueError, match="policy"):
        AppraisalPolicy.from_yaml(BROKEN[name])


def test_hostile_policies() -> None:
    """A text is a policy or a ValueError; every policy has an id and words."""
    rng, text, read = random.Random(7), (POLICY + EVERY.replace("tdx: {}\n", "")).encode(), 0
    for _ in range(300):
        at, size = rng.randrange(len(text)), rng.choice([1, 1, 2, 8])
        made = rng.choice([b"", rng.randbytes(size), b"-", b"\n", b"{}", b": ", b"0x", b"9" * 20, b"~"])
        with contextlib.suppress(ValueError):
            policy = AppraisalPolicy.from_yaml(text[:at] + made + text[at + size :])
            assert len(policy.policy_id) == 32
            assert explain(policy)
            read += 1
    assert 0 < read < 300


def test_a_policy_from_a_file(tmp_path: Any) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    assert AppraisalPolicy.load(path).policy_id == AppraisalPolicy.from_yaml(POLICY).policy_id
    path.write_text("#" * (1 << 20) + "\n")
    with pytest.raises(ValueError, match="larger"):
        AppraisalPolicy.load(path)


def test_the_documented_policy() -> None:
    """The example is a policy, it names no field twice and every field is in the page."""
    page = (Path(__file__).parents[2] / "docs" / "tee-policy.md").read_text(encoding="utf-8")
    policy = AppraisalPolicy.from_yaml(page.partition("```yaml\n")[2].partition("```")[0])
    assert policy.kinds == ("tdx", "snp", "nvidia")
    assert "WEAK" not in "\n".join(explain(policy))
    sections = [type(found) for found in map(AppraisalPolicy.from_yaml(EVERY).section, KINDS)]
    fields = {name for model in (AppraisalPolicy, *sections) for name in model.model_fields}
    assert sorted(name for name in fields if f"`{name}`" not in page) == []


# In words.


def test_a_policy_in_words() -> None:
    lines = explain(AppraisalPolicy.from_yaml(POLICY))
    text = "\n".join(lines)
    assert lines[-1] == "Physical adversary: not covered."
    for expected in (
        "Evidence has to answer the verifier's nonce.",
        "Evidence older than 600 s, or of unknown age, is refused.",
        "Simulated evidence is refused.",
        "Intel TDX domains:",
        "  Accepted: image 1 until 2027-06-30 00:00:00 UTC, if",
        f"    mr_td is 0x{'11' * 48}",
        "  TCB status: SWHardeningNeeded, UpToDate; a revoked one never.",
        "  Advisories that may apply: INTEL-SA-00001, INTEL-SA-00002.",
        "  SEPT_VE_DISABLE has to be set.",
        "  Machines: 0x01, 0x02.",
    ):
        assert expected in lines, text
    assert "WEAK" not in text


def test_weak_policies_are_called_weak() -> None:
    text = "\n".join(
        explain(
            AppraisalPolicy.from_yaml(
                "require_nonce: false\nallow_simulated: true\n"
                "tdx: {require_sept_ve_disable: false, events: {a: [0x01]}}\n"
                "snp: {allow_migration: true, min_tcb: {Turin: {fmc: 1, snp: 2}}}\nnvidia: {require_fwid: false}\n"
                "nitro: {}\nazure: {snp: {}}\nsgx: {min_evaluation_number: 20}\n"
            )
        )
    )
    assert text.count("WEAK") == 4
    for expected in (
        "UNSAFE: simulated",
        "no reference values",
        "snp 2, fmc 1",
        "at least 20",
        "event a",
        "TDX hardware is",
    ):
        assert expected in text
    assert "Everything is refused" in "\n".join(explain(AppraisalPolicy()))


# Forecasts.


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (6 * DAY + 5, "this key dies in 6 days: PCK CRL"),
        (2 * DAY, "this key dies in 2 days: PCK CRL"),
        (2 * DAY - 1, "this key dies in 47 hours: PCK CRL"),
        (7199, "this key dies in 119 minutes: PCK CRL"),
        (119, "this key dies in 119 seconds: PCK CRL"),
        (0, "this key dies in 0 seconds: PCK CRL"),
        (-3 * DAY, "this key died 3 days ago: PCK CRL"),
    ],
)
def test_forecasts(left: int, words: str) -> None:
    claims = tdx(window=Window(None, "", NOW + 10 * DAY, "pck_crl"))
    assert forecast(claims, NOW + 10 * DAY - left) == words
    assert forecast(judged(claims), NOW + 10 * DAY - left) == words


def test_who_limits_is_said_in_words() -> None:
    claims = tdx(window=Window(None, "", NOW, "some_new_part"))
    assert forecast(claims, NOW) == "this key dies in 0 seconds: some new part"
    ended = policy_for(tdx(), {"measurements": [image(tdx(), "v1", not_after=NOW + 3 * DAY)]})
    assert forecast(judged(tdx(), ended), NOW) == "this key dies in 3 days: image v1"
