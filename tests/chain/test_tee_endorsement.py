"""What an attestor signs: nothing that is not genuine, acceptable, the key's, and in the rules; for one place only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_account.messages import encode_typed_data

from tests.chain import tee_world as world
from tests.tee import forge_nvidia
from vml import canonical
from vml.chain import artifacts
from vml.chain.embedded import GENESIS_TIME
from vml.chain.tee_endorsement import Admission, Endorsement, Place, endorse, gather
from vml.chain.tee_evidence import ENDLESS, Finding, KeyEvidence, certificate_words, finding_of, judge
from vml.errors import ChainError, EvidenceRejected, MalformedProof, ProofRejected
from vml.keccak import keccak256
from vml.tee.anchors import TrustAnchors
from vml.tee.appraisal import GpuFirmware, NvidiaSection
from vml.tee.binding import KeyCertificate
from vml.tee.gpus import gpu_nonce, gpus_digest
from vml.tee.nvidia.report import read_report
from vml.tee_sim import anchors, matching_policy, simulate

HERE = Place(31337, "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC", "0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa")
INSIDE = world.enclave()
FOUND = world.found(INSIDE)


def judged(shown: KeyEvidence = INSIDE.shown, **changes: Any) -> Any:
    given = {
        "policy": world.policy(),
        "anchors": anchors(world.SEED),
        "at": GENESIS_TIME,
        "nonce": world.NONCE,
        **changes,
    }
    (result,) = judge(shown, **{**given, **changes})
    return result


def test_a_good_key_is_accepted() -> None:
    result = judged()
    assert (result.simulated, result.nonce_checked) == (True, True)
    assert judged(nonce=None).evidence_id == result.evidence_id
    assert Finding(result.evidence_id, result.not_after, True, world.LATER) == FOUND
    assert judged(KeyEvidence.from_bytes(INSIDE.shown.to_bytes())).evidence_id == result.evidence_id


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"anchors": TrustAnchors.vendors()}, "SIMULATED_EVIDENCE"),
        ({"nonce": bytes(32)}, "NONCE_MISMATCH"),
        ({"at": GENESIS_TIME + 86_401}, "KEY_EXPIRED"),
        ({"at": GENESIS_TIME + 10 * 365 * 86_400}, "EXPIRED"),
        ({"nonce_sent_at": GENESIS_TIME - 1000}, None),
    ],
)
def test_who_judges_decides(changes: dict[str, Any], code: str | None) -> None:
    if code is None:
        judged(**changes)
        return
    with pytest.raises(EvidenceRejected, match=code):
        judged(**changes)


def test_a_key_of_another_policy_is_refused() -> None:
    with pytest.raises(ProofRejected, match="appraisal policy"):
        judged(policy=matching_policy("tdx"))


def test_when_somebody_elses_nonce_was_sent_says_nothing() -> None:
    aged = world.policy().model_copy(update={"max_age_s": 600})
    certificate = replace(INSIDE.certificate, policy_id=aged.policy_id)
    evidence = simulate("tdx", report_data=certificate.digest() + world.NONCE, at=GENESIS_TIME, seed=world.SEED)
    shown = KeyEvidence(certificate, world.NONCE, evidence)
    judged(shown, policy=aged, nonce_sent_at=GENESIS_TIME - 10)
    with pytest.raises(EvidenceRejected, match="EVIDENCE_TOO_OLD"):
        judged(shown, policy=aged, nonce=None, nonce_sent_at=GENESIS_TIME - 10)


@pytest.mark.parametrize(
    "fields", [{"model": bytes(32)}, {"epoch": 2}, {"not_after": GENESIS_TIME + 9}, {"public_key": bytes(64)}]
)
def test_a_certificate_that_the_evidence_does_not_carry(fields: dict[str, Any]) -> None:
    certificate: KeyCertificate = replace(INSIDE.certificate, **fields)
    with pytest.raises(EvidenceRejected, match="KEY_BINDING"):
        judged(replace(INSIDE.shown, certificate=certificate))


def test_more_that_is_shown_and_not_so() -> None:
    with pytest.raises(EvidenceRejected, match="NONCE_MISMATCH"):
        judged(replace(INSIDE.shown, nonce=bytes(32)))
    with pytest.raises(EvidenceRejected, match="GPU_BINDING"):
        judged(replace(INSIDE.shown, certificate=INSIDE.certificate, gpus=(INSIDE.shown.evidence,)))
    debug = simulate(
        "tdx", report_data=INSIDE.certificate.digest() + world.NONCE, at=GENESIS_TIME, seed=world.SEED, fault="debug"
    )
    with pytest.raises(EvidenceRejected, match="DEBUG"):
        judged(replace(INSIDE.shown, evidence=debug))
    long = world.enclave(lasts_s=10 * 365 * 86_400)
    with pytest.raises(EvidenceRejected, match="KEY_OUTLIVES_EVIDENCE"):
        judged(long.shown)


def test_a_named_gpu_has_to_be_there() -> None:
    certificate = replace(INSIDE.certificate, gpus=b"\x01" * 32)
    evidence = simulate("tdx", report_data=certificate.digest() + world.NONCE, at=GENESIS_TIME, seed=world.SEED)
    with pytest.raises(EvidenceRejected, match="GPU_BINDING"):
        judged(KeyEvidence(certificate, world.NONCE, evidence))


def test_an_answer_has_one_encoding() -> None:
    data = INSIDE.shown.to_bytes()
    value = canonical.decode(data, max_bytes=1 << 24)
    wrong: list[Any] = [[], {**value, "more": 1}, {**value, "gpus": None}, {**value, "nonce": "0x12"}]
    wrong += [{**value, "gpus": [value["evidence"]] * 65}, {**value, "evidence": None}, {**value, "certificate": []}]
    wrong += [{**value, "certificate": {**value["certificate"], name: "x"}} for name in value["certificate"]]
    wrong += [{**value, "certificate": {**value["certificate"], "epoch": "01"}}]
    for other in wrong:
        with pytest.raises(MalformedProof):
            KeyEvidence.from_bytes(canonical.encode(other))
    with pytest.raises(MalformedProof):
        KeyEvidence.from_bytes(data + b" ")


def test_a_signed_run_carries_it() -> None:
    run = INSIDE.sign()
    with pytest.raises(MalformedProof):  # this one has no evidence
        KeyEvidence.of_proof(run)
    with pytest.raises(MalformedProof, match="no attested key"):
        KeyEvidence.of_proof(replace(run, scheme="sumcheck/1"))


# ---- signatures


TYPES = {
    "Admission": [
        {"name": "owner", "type": "address"},
        {"name": "rules", "type": "bytes32"},
        {"name": "certificate", "type": "bytes32"},
        {"name": "evidence", "type": "bytes32"},
        {"name": "collateralEnd", "type": "uint64"},
        {"name": "simulated", "type": "bool"},
        {"name": "deadline", "type": "uint64"},
    ]
}


def test_what_is_signed_is_what_everybody_else_computes() -> None:
    """A library that knows nothing of ours, and the contract."""
    node = world.node()
    state = world.deployed(node)
    where, rules = world.place(state), world.rules()
    admission = Admission(where, rules, INSIDE.certificate, FOUND)
    ours = keccak256(b"\x19\x01" + where.domain + admission.message)
    domain = {"name": "vml", "version": "1", "chainId": where.chain_id, "verifyingContract": where.contract}
    message = {
        "owner": where.owner,
        "rules": rules.id,
        "certificate": INSIDE.certificate.digest(),
        "evidence": FOUND.evidence,
        "collateralEnd": FOUND.collateral_end,
        "simulated": FOUND.simulated,
        "deadline": FOUND.deadline,
    }
    typed = encode_typed_data(domain, TYPES, message)
    assert keccak256(b"\x19" + typed.version + typed.header + typed.body) == ours
    words = (where.owner, rules.words, certificate_words(INSIDE.certificate), FOUND.words)
    chain = world.seen_through(node)
    assert chain.call(where.contract, artifacts.load("TeeVerifier").abi, "admissionDigest", *words) == ours


def test_who_signs_and_what_is_refused() -> None:
    admission = Admission(HERE, world.rules(), INSIDE.certificate, FOUND)
    signed = endorse(admission, world.attestor(0))
    assert Endorsement.from_bytes(signed.to_bytes()) == signed
    with pytest.raises(ValueError, match="is no attestor"):
        endorse(admission, world.attestor(9))
    with pytest.raises(ChainError, match="test node") as caught:
        endorse(replace(admission, place=replace(HERE, chain_id=1)), world.attestor(0))
    assert caught.value.error == "SimulatedEvidence"
    other = replace(INSIDE.certificate, policy_id=bytes(32))
    with pytest.raises(EvidenceRejected, match="KEY_BINDING"):
        endorse(replace(admission, certificate=other), world.attestor(0))


def test_every_field_of_an_endorsement_is_signed() -> None:
    signed = endorse(Admission(HERE, world.rules(), INSIDE.certificate, FOUND), world.attestor(0))
    value = canonical.decode(signed.to_bytes(), max_bytes=1 << 20)
    found, certificate = value["finding"], value["certificate"]
    altered = [
        {**value, "chain_id": "1337"},
        {**value, "contract": HERE.owner},
        {**value, "owner": HERE.contract},
        {**value, "attestor": world.attestor(1).address},
        {**value, "attestor": world.attestor(9).address},
        {**value, "signature": "0x" + bytes(65).hex()},
        {**value, "signature": value["signature"][:-2] + "1d"},
        {**value, "rules": {**value["rules"], "threshold": 2}},
        {**value, "certificate": {**certificate, "epoch": "2"}},
        {**value, "finding": {**found, "evidence": "0x" + "00" * 32}},
        {**value, "finding": {**found, "collateral_end": str(ENDLESS)}},
        {**value, "finding": {**found, "simulated": False}},
        {**value, "finding": {**found, "deadline": "5"}},
        {**value, "finding": {**found, "more": "5"}},
        {**value, "more": 1},
        {**value, "format": "vml-tee-endorsement/2"},
        {name: item for name, item in value.items() if name != "finding"},
        [],
    ]
    for other in altered:
        with pytest.raises(ValueError, match="no endorsement"):
            Endorsement.from_bytes(canonical.encode(other))


def test_a_second_form_of_a_signature_is_refused() -> None:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    signed = endorse(Admission(HERE, world.rules(), INSIDE.certificate, FOUND), world.attestor(0))
    r, s, v = signed.signature[:32], int.from_bytes(signed.signature[32:64], "big"), signed.signature[64]
    for other in (
        r + (order - s).to_bytes(32, "big") + bytes([55 - v]),
        r + signed.signature[32:64] + bytes([v - 27]),
        signed.signature + b"\0",
    ):
        with pytest.raises(ValueError, match="s in the lower half"):
            replace(signed, signature=other).require_signed()


def test_three_of_five_make_an_admission() -> None:
    five = world.endorsed(HERE, INSIDE, FOUND, 3, 1, 4, 0, 2)
    admission, signatures = gather(five)
    by_address = {item.attestor: item.signature for item in five}
    assert signatures == b"".join(by_address[address] for address in world.ATTESTORS[:3])
    assert admission == five[0].admission
    for few in (five[:2], [*five[:2], five[0]]):
        with pytest.raises(ValueError, match="2 attestors signed, the rules want 3 of 5"):
            gather(few)
    with pytest.raises(ValueError, match="no endorsement"):
        gather([])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"place": replace(HERE, chain_id=1337)}, "different places"),
        ({"rules": world.rules(threshold=2)}, "different rules"),
        ({"certificate": replace(INSIDE.certificate, epoch=9)}, "different keys"),
        ({"finding": replace(FOUND, evidence=bytes(32))}, "different pieces of evidence"),
        ({"finding": replace(FOUND, deadline=5)}, "give all attestors one --deadline"),
    ],
)
def test_attestors_who_signed_something_else(changes: dict[str, Any], words: str) -> None:
    admission = Admission(HERE, world.rules(), INSIDE.certificate, FOUND)
    two = world.endorsed(HERE, INSIDE, FOUND, 0, 1)
    with pytest.raises(ValueError, match=words):
        gather([*two, endorse(replace(admission, **changes), world.attestor(2))])


# ---- GPUs


GPU_POLICY = world.policy().model_copy(
    update={"nvidia": NvidiaSection(firmware=(GpuFirmware(driver=forge_nvidia.DRIVER, vbios=forge_nvidia.VBIOS),))}
)
ROOTS = TrustAnchors([*anchors(world.SEED).roots, *forge_nvidia.ANCHORS.roots])


def with_gpus(*nonces: bytes, named: int | None = None) -> KeyEvidence:
    """A key that names the GPUs that answered; `named` leaves out all but so many."""
    at, base = forge_nvidia.NOW, world.enclave(at=forge_nvidia.NOW).certificate
    certificate = replace(base, policy_id=GPU_POLICY.policy_id)
    gpus = [
        replace(forge_nvidia.GpuForgery(), nonce=gpu_nonce(certificate.public_key, nonce)).evidence()
        for nonce in nonces
    ]
    ids = [read_report(gpu.data).evidence_id for gpu in gpus[:named]]
    certificate = replace(certificate, gpus=gpus_digest(ids) if ids else None)
    evidence = simulate("tdx", report_data=certificate.digest() + world.NONCE, seed=world.SEED, at=at)
    return KeyEvidence(certificate, world.NONCE, evidence, tuple(gpus))


def judged_gpus(shown: KeyEvidence) -> Any:
    return judge(shown, GPU_POLICY, ROOTS, forge_nvidia.NOW, world.NONCE)


def test_a_key_beside_a_gpu() -> None:
    shown = with_gpus(world.NONCE)
    results = judged_gpus(KeyEvidence.from_bytes(shown.to_bytes()))
    assert [str(result.claims.kind) for result in results] == ["tdx", "nvidia"]
    found = finding_of(results, 5)
    assert found.evidence == results[0].evidence_id
    assert found.collateral_end == min(result.not_after for result in results)


@pytest.mark.parametrize(
    "shown",
    [
        with_gpus(bytes(32)),  # it answered another nonce
        with_gpus(world.NONCE, named=0),  # the key names none
        replace(with_gpus(world.NONCE), gpus=()),  # the key names one, and none is shown
        with_gpus(world.NONCE, world.NONCE, named=1),  # the same one twice
    ],
)
def test_a_gpu_that_does_not_belong_to_the_key(shown: KeyEvidence) -> None:
    with pytest.raises(EvidenceRejected, match=r"GPU_BINDING|NONCE_MISMATCH"):
        judged_gpus(shown)
