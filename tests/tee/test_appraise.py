"""Every rule of an appraisal: what it accepts, what it refuses, what it does where the evidence is silent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.tee import forge_nvidia
from tests.tee.judging import (
    GOOD,
    KINDS,
    NONCE,
    NOW,
    PINNED,
    azure,
    hexed,
    image,
    judged,
    nitro,
    nvidia,
    policy_for,
    refused,
    section,
    sgx,
    snp,
    tcb,
    tdx,
)
from vml.errors import EvidenceRejected
from vml.tee import (
    Reason,
    Verified,
    Window,
)
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.appraise import MAX_SKEW_S, forecast
from vml.tee.verified import LogEvent, SnpTcb, TcbStatus, TdHistory


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
    assert judged(nvidia(), policy_for(nvidia(), {"products": ["GB100", "GH100"]})).claims.kind == "nvidia"
    assert refused(nvidia(), policy_for(nvidia(), {"products": ["GB100"]})) == Reason.MEASUREMENT_MISMATCH


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


@pytest.mark.parametrize("part", ["first_service_td", "service_td"])
def test_service_domains_of_a_domains_life(part: str) -> None:
    none = TdHistory(vm_id=0, td_id=bytes(32), first_service_td=bytes(48), service_td=bytes(48))
    assert judged(tdx(history=none)).image == "image"
    assert refused(tdx(history=replace(none, **{part: bytes(47) + b"\x01"}))) == Reason.SERVICE_TD_PRESENT


def test_a_machine_in_a_partitioned_domain() -> None:
    inside = TdHistory(vm_id=1, td_id=bytes(32), first_service_td=bytes(48), service_td=bytes(48))
    assert refused(tdx(history=inside)) == Reason.VMPL_REFUSED
    assert judged(tdx(history=replace(inside, vm_id=0))).image == "image"


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
        other = {**good["values"], name: hexed(b"\xee" * len(claims.measurements[name]))}
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
            {
                "name": "image",
                "values": {
                    "mr_td": hexed(tdx().mr_td),
                    **{f"pcr{index}": hexed(claims.pcrs[index]) for index in (4, 7, 9, 12)},
                },
            },
        ],
        "tdx": {},
    }
    assert judged(below, policy_for(claims, on_tdx)).image == "image"
    assert refused(below, policy_for(claims, {**on_tdx, "snp": {}, "tdx": None})) == Reason.KIND_NOT_ALLOWED
    late = azure(hardware=tdx(tcb=tcb(status=TcbStatus.OUT_OF_DATE)))
    assert refused(late, policy_for(claims, on_tdx)) == Reason.TCB_STATUS_REFUSED


def test_the_version_of_an_enclaves_configuration() -> None:
    lowest = policy_for(sgx(), {"min_config_svn": 3})
    assert judged(sgx(config_svn=3), lowest).image == "image"
    assert refused(sgx(config_svn=2), lowest) == Reason.TCB_TOO_OLD
    assert judged(sgx(config_svn=0)).image == "image"


# Step 15.


@pytest.mark.parametrize("kind", ["snp", "azure"])
def test_amds_list_has_to_come_along(kind: str) -> None:
    unlisted = snp(crl_number=None, crl_issued=None)
    claims: Verified = unlisted if kind == "snp" else azure(hardware=unlisted)

    def policy(**rules: Any) -> AppraisalPolicy:
        return policy_for(claims, rules if kind == "snp" else {"snp": rules})

    assert refused(claims, policy()) == Reason.CRL_INVALID
    assert judged(claims, policy(require_crl=False)).image == "image"
    for asked in ({"min_crl_number": 0}, {"max_crl_age_s": 100}):
        assert refused(claims, policy(require_crl=False, **asked)) == Reason.CRL_INVALID


def test_amds_list_is_as_new_as_the_policy_asks() -> None:
    claims = snp(crl_number=7, crl_issued=NOW - 100)
    found = judged(claims, policy_for(claims, {"min_crl_number": 7, "max_crl_age_s": 100}))
    assert (found.not_after, found.limited_by) == (NOW, "AMD's list")
    assert refused(claims, policy_for(claims, {"min_crl_number": 8})) == Reason.CRL_TOO_OLD
    assert refused(claims, policy_for(claims, {"max_crl_age_s": 99})) == Reason.CRL_TOO_OLD
    for weak in ({"min_crl_number": 8}, {"max_crl_age_s": 99}):
        assert refused(claims, policy_for(claims, {"require_crl": False, **weak})) == Reason.CRL_TOO_OLD


@pytest.mark.parametrize("kind", KINDS)
def test_a_verdict_says_whose_lists_were_looked_at(kind: str) -> None:
    claims = GOOD[kind]()
    found = judged(claims)
    said = found.as_json()["revocation"]
    assert f"revocation: {said}" in found.lines()
    assert said.startswith("NOT CHECKED" if kind in ("nitro", "nvidia") else "checked")
    bare = snp(crl_number=None, crl_issued=None)
    assert judged(bare, policy_for(bare, {"require_crl": False})).as_json()["revocation"].startswith("NOT CHECKED")


# Step 16.


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
