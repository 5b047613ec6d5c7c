"""Rules under which keys come in: what of a policy a contract can apply, their one encoding, their id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chain import tee_world as world
from vml import canonical
from vml.chain import artifacts
from vml.chain.tee_rules import STATUSES, Mode, Rules, Terms, modes_of, rules_of
from vml.keccak import keccak256
from vml.tee.appraisal import AppraisalPolicy, ReferenceValues, SgxSection, TdxSection
from vml.tee.verified import TcbStatus
from vml.tee_sim import matching_policy

CONTRACT = "0x" + "Aa" * 20
AT = "0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa"
TERMS = Terms(3600, 7200, 10**18, 10**17, 10**16, 10**15)
SGX = AppraisalPolicy.from_yaml(
    "sgx: {measurements: [{name: a, values: {mr_enclave: '0x" + "11" * 32 + "'}}]}\nnitro: {measurements: []}"
)


def test_the_id_is_the_contracts() -> None:
    chain = world.seen_through(world.node())
    state = world.deployed(chain.rpc._provider)
    for made in (world.rules(), world.rules(attestation=AT, terms=TERMS), rules_of(SGX, attestation=AT)):
        contract = state.contracts["adapter"].address
        assert chain.call(contract, artifacts.load("TeeVerifier").abi, "rulesId", made.words) == made.id


def test_what_a_contract_measures() -> None:
    (image,) = world.policy().tdx.measurements  # type: ignore[union-attr]
    made = world.rules(attestation=AT)
    together = b"".join(image.values[name] for name in ("mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3"))
    assert made.measurements == (keccak256(together),)
    assert (made.body_types, made.tcb_statuses) == (("tdx10", "tdx15"), (TcbStatus.UP_TO_DATE,))
    assert made.words[5:7] == (1, 0b1100)
    assert made.modes == (Mode.QUORUM, Mode.ON_CHAIN, Mode.ZK)
    enclave = rules_of(SGX, attestation=AT)
    assert (enclave.measurements, enclave.body_types, enclave.words[6]) == ((b"\x11" * 32,), ("sgx",), 2)
    assert enclave.modes == (Mode.ON_CHAIN, Mode.ZK)
    assert world.rules().modes == (Mode.QUORUM,)
    assert world.rules(terms=TERMS).modes == (Mode.QUORUM, Mode.OPTIMISTIC)
    # Revoked and unknown are numbers 6 and 7, which no rules can allow.
    assert set(STATUSES.values()) == set(range(6))


def changed(**fields: Any) -> AppraisalPolicy:
    tdx = world.policy().tdx
    assert tdx is not None
    (image,) = tdx.measurements
    values = dict(image.values)
    for name in ("rtmr0", "mr_seam"):
        if fields.pop(name, False):
            values.pop(name, None) or values.update({name: b"\x01" * 48})
    until = fields.pop("not_after", None)
    images = (image.model_copy(update={"values": values, "not_after": until}),)
    return world.policy().model_copy(update={"tdx": tdx.model_copy(update={"measurements": images, **fields})})


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (changed(rtmr0=True), "measurements[simulated] without rtmr0"),
        (changed(mr_seam=True), "measurements[simulated].mr_seam"),
        (changed(not_after=5), "measurements[simulated].not_after"),
        (changed(min_evaluation_number=3), "tdx.min_evaluation_number"),
        (changed(platform_ids=(b"\x01",)), "tdx.platform_ids"),
        (changed(events={"a": (b"\x01",)}), "tdx.events"),
        (changed(tcb_statuses=(TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE)), "tdx.tcb_statuses"),
        (world.policy().model_copy(update={"max_age_s": 60}), "max_age_s"),
        (matching_policy("snp"), "evidence of snp (only sgx and tdx)"),
        (matching_policy("sgx"), "sgx.measurements[simulated].mr_signer"),
        (AppraisalPolicy.from_yaml("sgx: {}"), "sgx.measurements (there are none)"),
    ],
)
def test_what_no_contract_can_look_at(policy: AppraisalPolicy, words: str) -> None:
    with pytest.raises(ValueError, match="no contract can look at") as caught:
        rules_of(policy, attestation=AT)
    assert words in str(caught.value)
    # Attestors look at all of it.
    assert rules_of(policy, attestors=world.ATTESTORS, threshold=1).policy == policy.policy_id


ANYTHING = object()
LOOKED_AT: dict[Any, set[str]] = {
    AppraisalPolicy: {"version", "require_nonce", "allow_simulated", "sgx", "tdx", "snp", "nitro", "azure", "nvidia"},
    SgxSection: {"measurements", "tcb_statuses", "advisories"},
    TdxSection: {"measurements", "tcb_statuses", "advisories", "require_sept_ve_disable"},
    ReferenceValues: {"name", "values"},
}


@pytest.mark.parametrize(
    ("kind", "field"),
    [(kind, field) for kind, known in LOOKED_AT.items() for field in sorted(kind.model_fields.keys() - known)],
)
def test_every_other_field_of_a_policy_is_refused_by_name(
    kind: Any, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that nobody has thought of yet."""
    monkeypatch.setattr(AppraisalPolicy, "policy_id", bytes(32))  # such a policy has none
    policy = world.policy() if kind is TdxSection else SGX
    name = "tdx" if kind is TdxSection else "sgx"
    section: Any = policy.section(name)
    if kind is ReferenceValues:
        images = tuple(image.model_copy(update={field: ANYTHING}) for image in section.measurements)
        section = section.model_copy(update={"measurements": images})
    elif kind is not AppraisalPolicy:
        section = section.model_copy(update={field: ANYTHING})
    fields = {field: ANYTHING} if kind is AppraisalPolicy else {name: section}
    with pytest.raises(ValueError, match=rf"no contract can look at .*{field}"):
        rules_of(policy.model_copy(update=fields), attestation=AT)


def test_a_version_of_the_configuration_is_nothing_for_a_contract() -> None:
    policy = AppraisalPolicy.from_yaml(
        "sgx: {min_config_svn: 5, measurements: [{name: a, values: {mr_enclave: '0x" + "11" * 32 + "'}}]}"
    )
    with pytest.raises(ValueError, match=r"no contract can look at sgx\.min_config_svn"):
        rules_of(policy, attestation=AT)


def test_no_proposals_under_a_policy_about_age() -> None:
    aged = world.policy().model_copy(update={"max_age_s": 600})
    rules_of(aged, attestors=world.ATTESTORS, threshold=3)
    with pytest.raises(ValueError, match="nobody can judge proposals"):
        rules_of(aged, attestors=world.ATTESTORS, threshold=3, terms=TERMS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threshold": 0}, "a threshold of 0 of 5"),
        ({"threshold": 6}, "a threshold of 6 of 5"),
        ({"attestors": (), "threshold": 1}, "a threshold of 1 of 0"),
        ({"attestors": (), "threshold": 0}, "no key comes in"),
        ({"attestors": (*world.ATTESTORS, world.ATTESTORS[0])}, "named twice"),
        ({"lifetime_s": 0}, "lifetime"),
        ({"lifetime_s": 1 << 32}, "lifetime"),
    ],
)
def test_rules_that_are_none(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        world.rules(**changes)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ((0, 1, 2, 2, 1, 1), "window"),
        ((1, 1 << 32, 2, 2, 1, 1), "window"),
        ((1, 1, 0, 2, 0, 0), "bonds"),
        ((1, 1, 2, 1 << 96, 1, 1), "bonds"),
        ((1, 1, 3, 2, 2, 1), "half of either"),
        ((1, 1, 2, 3, 1, 3), "half of either"),
    ],
)
def test_terms_that_are_none(words: tuple[int, ...], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Terms(*words)


def test_attestors_are_put_in_order() -> None:
    assert world.rules(attestors=world.ATTESTORS[::-1]) == world.rules()
    with pytest.raises(ValueError, match="ascending"):
        Rules(bytes(32), 1, 1, world.ATTESTORS[::-1])


def test_a_file_has_one_encoding(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    for made in (world.rules(), world.rules(attestation=AT, terms=TERMS)):
        made.save(path)
        assert Rules.load(path) == made
        value = canonical.decode(path.read_bytes(), max_bytes=1 << 20)
        for name in value:
            for other in ({k: v for k, v in value.items() if k != name}, {**value, name: "x"}, {**value, name: []}):
                if other == value:
                    continue
                path.write_bytes(canonical.encode(other))
                with pytest.raises(ValueError, match=r"no rules of vml-tee-rules/1"):
                    Rules.load(path)
        path.write_bytes(canonical.encode({**value, "attestors": [a.lower() for a in value["attestors"]]}))
        with pytest.raises(ValueError, match="one encoding"):
            Rules.load(path)
    path.write_bytes(b"[]")
    with pytest.raises(ValueError, match="no rules"):
        Rules.load(path)


def test_modes_by_name() -> None:
    assert modes_of("zk, quorum") == (Mode.QUORUM, Mode.ZK)
    for words in ("", "quorum,", "all", "OnChain"):
        with pytest.raises(ValueError, match="modes are quorum, on-chain, zk"):
            modes_of(words)
