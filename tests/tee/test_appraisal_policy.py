"""Appraisal policies as files, as identities and in words; and how long what they accept will last."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.tee.judging import (
    DAY,
    KINDS,
    NOW,
    image,
    judged,
    policy_for,
    tdx,
)
from vml.tee import (
    Window,
)
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.appraise import forecast
from vml.tee.explain import explain

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


def azures(**values: str) -> str:
    """A policy with these registers, each of one value repeated."""
    pinned = {name: "0x" + value * 32 for name, value in values.items()}
    return json.dumps({"azure": {"snp": {}, "measurements": [{"name": "a", "values": pinned}]}})


HARDWARE = {"measurement": "01", "pcr4": "02", "pcr7": "03"}


@pytest.mark.parametrize(
    "started",
    [
        {"pcr8": "04", "pcr9": "05"},
        {"pcr9": "04", "pcr12": "05"},
        {"pcr11": "04", "pcr12": "05"},
        {"pcr11": "04", "pcr12": "00"},
    ],
    ids=str,
)
def test_what_azures_machines_started_is_pinned(started: dict[str, str]) -> None:
    """Each of the registers is needed, and what measured nothing pins nothing."""

    def read(values: dict[str, str]) -> None:
        text = azures(**values).replace("0x" + "01" * 32, "0x" + "01" * 48)
        assert AppraisalPolicy.from_yaml(text).kinds == ("azure",)

    whole = HARDWARE | started
    read(whole)
    for name in whole:
        with pytest.raises(ValueError, match="is open"):
            read({other: value for other, value in whole.items() if other != name})
        if name != "measurement" and "pcr11" not in started:
            with pytest.raises(ValueError, match="what was started is open"):
                read(whole | {name: "00"})
    with pytest.raises(ValueError, match="what was started is open"):
        read(HARDWARE | {"pcr9": "04", "pcr11": "00", "pcr12": "00"})


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
                "snp: {allow_migration: true, require_crl: false, min_tcb: {Turin: {fmc: 1, snp: 2}}}\n"
                "nvidia: {require_fwid: false, products: [GH100]}\nnitro: {}\n"
                "azure: {snp: {min_crl_number: 4, max_crl_age_s: 9}}\n"
                "sgx: {min_evaluation_number: 20, min_config_svn: 21}\n"
            )
        )
    )
    assert text.count("WEAK") == 5
    for expected in (
        "UNSAFE: simulated",
        "has to be one of GH100",
        "no reference values",
        "snp 2, fmc 1",
        "at least 20",
        "at least 21",
        "AMD's revocation list has to come along, of number 4 or later and at most 9 s old.",
        "AWS's revocation lists are not looked at.",
        "NVIDIA tells about them online only.",
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
