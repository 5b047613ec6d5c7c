"""Key certificates and receipts: the vectors of an independent generator, and everything that has to be refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from eth_account import Account

from vml.errors import BackendUnavailable, EvidenceRejected
from vml.tee import NitroClaims, Reason, SnpClaims, Window, binding
from vml.tee.binding import Algorithm, KeyCertificate, Receipt, recoverable, require_bound, sign_receipt, verify_receipt

VECTORS = Path(__file__).parents[1] / "vectors" / "receipts.json"
CASES: list[dict[str, Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))["cases"]
CURVES = {Algorithm.SECP256K1: ec.SECP256K1(), Algorithm.P256: ec.SECP256R1()}


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def certificate_of(case: dict[str, Any]) -> KeyCertificate:
    fields = case["certificate"]
    return KeyCertificate(
        algorithm=fields["algorithm"],
        public_key=unhex(fields["public_key"]),
        model=unhex(fields["model"]),
        policy_id=unhex(fields["policy_id"]),
        epoch=int(fields["epoch"]),
        not_after=int(fields["not_after"]),
    )


def receipt_of(case: dict[str, Any]) -> Receipt:
    fields, epoch = case["receipt"], int(case["certificate"]["epoch"])
    claim, key_id = unhex(fields["claim"]), unhex(case["key_id"])
    return Receipt(claim, key_id, epoch, int(fields["sequence"]), int(fields["issued_at"]))


def private_key(case: dict[str, Any]) -> ec.EllipticCurvePrivateKey:
    algorithm = Algorithm(case["certificate"]["algorithm"])
    return ec.derive_private_key(int.from_bytes(unhex(case["secret"]), "big"), CURVES[algorithm])


def code(call: Callable[[], object]) -> str:
    with pytest.raises(EvidenceRejected) as caught:
        call()
    return caught.value.reason


every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
both = pytest.mark.parametrize("case", [CASES[0], CASES[5]], ids=lambda case: case["name"])


@every_case
def test_certificates_and_receipts_are_the_vectors(case: dict[str, Any]) -> None:
    certificate, receipt = certificate_of(case), receipt_of(case)
    assert certificate.encode() == unhex(case["certificate_cbor"])
    assert certificate.digest() == unhex(case["certificate_digest"])
    assert certificate.key_id == unhex(case["key_id"])
    assert receipt.digest() == unhex(case["receipt_digest"])
    assert binding.public_key_of(private_key(case)) == certificate.public_key


@every_case
def test_signatures_are_the_vectors(case: dict[str, Any]) -> None:
    certificate, receipt = certificate_of(case), receipt_of(case)
    made = sign_receipt(receipt, certificate.algorithm, private_key(case))
    assert made == unhex(case["signature"])
    verify_receipt(receipt, made, certificate)
    if certificate.algorithm == Algorithm.SECP256K1:
        assert recoverable(receipt, made, certificate.public_key) == made + bytes([case["v"]])


def test_what_contracts_recover_is_the_key() -> None:
    """Both values of v, against a wallet's own recovery."""
    case, seen = CASES[0], set()
    certificate, receipt, key = certificate_of(case), receipt_of(case), private_key(case)
    address = Account.from_key(unhex(case["secret"])).address
    for sequence in range(16):
        another = replace(receipt, sequence=sequence)
        signed = recoverable(another, sign_receipt(another, Algorithm.SECP256K1, key), certificate.public_key)
        seen.add(signed[64])
        assert Account._recover_hash(another.digest(), signature=signed) == address
    assert seen == {27, 28}


@both
def test_every_field_of_a_receipt_is_signed(case: dict[str, Any]) -> None:
    certificate, receipt, signature = certificate_of(case), receipt_of(case), unhex(case["signature"])
    for changed in (
        replace(receipt, claim=bytes(32)),
        replace(receipt, sequence=1),
        replace(receipt, issued_at=receipt.issued_at - 1),
        replace(receipt, key_id=bytes(32)),
    ):
        assert code(lambda changed=changed: verify_receipt(changed, signature, certificate)) == Reason.RECEIPT_SIGNATURE
    elsewhere = replace(receipt, epoch=receipt.epoch + 1)
    assert code(lambda: verify_receipt(elsewhere, signature, certificate)) == Reason.EPOCH_ROTATED
    moved = replace(certificate, epoch=receipt.epoch + 1)
    assert code(lambda: verify_receipt(elsewhere, signature, moved)) == Reason.RECEIPT_SIGNATURE


@both
def test_a_key_signs_until_its_last_second(case: dict[str, Any]) -> None:
    certificate, receipt = certificate_of(case), receipt_of(case)
    last = replace(receipt, issued_at=certificate.not_after)
    verify_receipt(last, sign_receipt(last, certificate.algorithm, private_key(case)), certificate)
    late = replace(receipt, issued_at=certificate.not_after + 1)
    signature = sign_receipt(late, certificate.algorithm, private_key(case))
    assert code(lambda: verify_receipt(late, signature, certificate)) == Reason.KEY_EXPIRED


@both
def test_a_signature_has_one_spelling(case: dict[str, Any]) -> None:
    certificate, receipt, signature = certificate_of(case), receipt_of(case), unhex(case["signature"])
    order, s = certificate.algorithm.order, int.from_bytes(signature[32:], "big")
    assert s <= order // 2
    for other in (
        signature[:32] + (order - s).to_bytes(32, "big"),
        signature + b"\x1b",
        signature[:32] + b"\x00" + signature[32:],
        signature[:-1],
        b"",
        bytes(64),
        bytes(32) + signature[32:],
        signature[:32] + bytes(32),
        order.to_bytes(32, "big") + signature[32:],
        signature[:63] + bytes([signature[63] ^ 1]),
        bytes([signature[0] ^ 1]) + signature[1:],
    ):
        assert code(lambda other=other: verify_receipt(receipt, other, certificate)) == Reason.RECEIPT_SIGNATURE


@both
def test_another_key_signed_it(case: dict[str, Any]) -> None:
    certificate, receipt = certificate_of(case), receipt_of(case)
    other = ec.derive_private_key(7, CURVES[certificate.algorithm])
    with pytest.raises(ValueError, match="another key"):
        sign_receipt(receipt, certificate.algorithm, other)
    public = binding.public_key_of(other)
    swapped = replace(certificate, public_key=public)
    assert code(lambda: verify_receipt(receipt, unhex(case["signature"]), swapped)) == Reason.RECEIPT_SIGNATURE
    named = replace(receipt, key_id=swapped.key_id)
    assert code(lambda: verify_receipt(named, unhex(case["signature"]), swapped)) == Reason.RECEIPT_SIGNATURE
    with pytest.raises(ValueError, match="another key"):
        sign_receipt(named, Algorithm(3 - certificate.algorithm), other)


@both
def test_a_key_signs_in_its_own_name_only(case: dict[str, Any]) -> None:
    certificate, named = certificate_of(case), replace(receipt_of(case), key_id=bytes(32))
    method = ec.ECDSA(Prehashed(SHA256()), deterministic_signing=True)
    r, s = decode_dss_signature(private_key(case).sign(named.digest(), method))
    signature = r.to_bytes(32, "big") + min(s, certificate.algorithm.order - s).to_bytes(32, "big")
    assert code(lambda: verify_receipt(named, signature, certificate)) == Reason.RECEIPT_SIGNATURE


def test_the_algorithm_is_part_of_the_key_id() -> None:
    certificate, receipt = certificate_of(CASES[5]), receipt_of(CASES[5])
    other = replace(certificate, algorithm=Algorithm.SECP256K1)
    assert other.key_id != certificate.key_id
    assert code(lambda: verify_receipt(receipt, unhex(CASES[5]["signature"]), other)) == Reason.RECEIPT_SIGNATURE
    named = replace(receipt, key_id=other.key_id)  # the point is not even on the other curve
    assert code(lambda: verify_receipt(named, unhex(CASES[5]["signature"]), other)) == Reason.RECEIPT_SIGNATURE


def test_no_v_for_what_is_no_signature() -> None:
    case = CASES[0]
    receipt, signature, public = receipt_of(case), unhex(case["signature"]), certificate_of(case).public_key
    assert code(lambda: recoverable(replace(receipt, sequence=9), signature, public)) == Reason.RECEIPT_SIGNATURE
    assert code(lambda: recoverable(receipt, signature + b"\x00", public)) == Reason.RECEIPT_SIGNATURE
    with pytest.raises(ValueError, match="64 bytes"):
        recoverable(receipt, signature, b"\x04" + public)


@pytest.mark.parametrize(
    "changes",
    [
        {"public_key": bytes(65)},
        {"model": bytes(31)},
        {"policy_id": "0x"},
        {"epoch": -1},
        {"epoch": 1 << 64},
        {"not_after": True},
        {"algorithm": 3},
    ],
    ids=str,
)
def test_certificates_have_no_other_fields(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(certificate_of(CASES[0]), **changes)


@pytest.mark.parametrize(
    "changes",
    [{"claim": bytes(33)}, {"key_id": b""}, {"epoch": -1}, {"sequence": 1 << 64}, {"issued_at": 1.5}],
    ids=str,
)
def test_receipts_have_no_other_fields(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(receipt_of(CASES[0]), **changes)


def nitro(certificate: KeyCertificate, not_after: int | None, **changes: Any) -> NitroClaims:
    fields: dict[str, Any] = {
        "evidence_id": bytes(32),
        "window": Window(None, "", not_after, "certificate"),
        "simulated": True,
        "at": 0,
        "module_id": "",
        "timestamp_ms": 0,
        "pcrs": {},
        "public_key": certificate.public_key,
        "user_data": certificate.digest(),
        "document_nonce": None,
    }
    return NitroClaims(**{**fields, **changes})


def test_evidence_names_the_certificate() -> None:
    certificate = certificate_of(CASES[0])
    end = certificate.not_after
    for good in (end, end + 1, None):
        require_bound(certificate, nitro(certificate, good))
    assert code(lambda: require_bound(certificate, nitro(certificate, end - 1))) == Reason.KEY_OUTLIVES_EVIDENCE
    for changes in ({"user_data": bytes(32)}, {"user_data": None}, {"public_key": bytes(64)}, {"public_key": None}):
        bad = nitro(certificate, end, **changes)
        assert code(lambda bad=bad: require_bound(certificate, bad)) == Reason.KEY_BINDING
    for changed in (
        replace(certificate, epoch=5),
        replace(certificate, model=bytes(32)),
        replace(certificate, policy_id=bytes(32)),
        replace(certificate, not_after=end - 1),
    ):
        document = nitro(certificate, end)
        assert code(lambda changed=changed, document=document: require_bound(changed, document)) == Reason.KEY_BINDING


def test_all_zero_report_data_names_nothing() -> None:
    certificate = certificate_of(CASES[0])
    report = object.__new__(SnpClaims)
    object.__setattr__(report, "data", bytes(64))
    assert code(lambda: require_bound(certificate, report)) == Reason.KEY_BINDING


@both
def test_a_receipt_is_checked_within_a_millisecond(case: dict[str, Any]) -> None:
    certificate, receipt, signature = certificate_of(case), receipt_of(case), unhex(case["signature"])
    took = []
    for _ in range(200):
        start = time.perf_counter()
        verify_receipt(receipt, signature, certificate)
        took.append(time.perf_counter() - start)
    assert min(took) < 1e-3


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "find_spec", lambda name: None)
    binding.require_installed.cache_clear()
    case = CASES[0]
    with pytest.raises(BackendUnavailable, match="extra tee"):
        verify_receipt(receipt_of(case), unhex(case["signature"]), certificate_of(case))
    binding.require_installed.cache_clear()
