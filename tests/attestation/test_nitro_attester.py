"""The Nitro attester over a fake ioctl: the request's bytes, the answers it refuses, and that documents verify."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import cbor2
import pytest

from attestation.attester import AttestationFailed
from attestation.nitro.attester import MAX_RESPONSE, Message, NitroAttester
from tests.attestation.fakes import AT, SEED, FakeNsm, nitro_document
from vml.tee import NitroClaims, verify_evidence
from vml.tee.evidence import Evidence
from vml.tee_sim import anchors

DIGEST, NONCE, KEY = b"d" * 32, b"n" * 32, b"k" * 64


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "nsm"
    path.touch()
    return path


def attest(device: Path, nsm: Any) -> Evidence:
    return NitroAttester(device, nsm).attest(DIGEST, NONCE, KEY)


def test_a_document_carries_digest_nonce_and_key(device: Path) -> None:
    nsm = FakeNsm(nitro_document)
    claims = verify_evidence(attest(device, nsm), anchors(SEED), AT)
    assert isinstance(claims, NitroClaims)
    assert (claims.bound_digest, claims.nonce, claims.public_key) == (DIGEST, NONCE, KEY)
    assert nsm.asked == [{"Attestation": {"user_data": DIGEST, "nonce": NONCE, "public_key": KEY}}]


@pytest.mark.parametrize("field", ["user_data", "nonce", "public_key"])
def test_a_document_about_something_else_is_refused(device: Path, field: str) -> None:
    def answer(request: Any) -> bytes:
        fields = request["Attestation"]
        return nitro_document({"Attestation": {**fields, field: bytes(len(fields[field]))}})

    with pytest.raises(AttestationFailed, match="another question"):
        attest(device, FakeNsm(answer))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (cbor2.dumps({"Error": "InvalidArgument"}), "InvalidArgument"),
        (cbor2.dumps("LockPCR"), "LockPCR"),
        (cbor2.dumps({"Attestation": {}}), "without a document"),
        (cbor2.dumps({"Attestation": {"document": "text"}}), "without a document"),
        (cbor2.dumps({"Attestation": {"document": b"x", "more": 1}}), "without a document"),
        (cbor2.dumps({"Attestation": {"document": b"x"}}), "cannot be read"),
        (cbor2.dumps({"Attestation": {"document": b"x"}}) + b"\0", "something follows"),
        (b"\xff", "no CBOR"),
        (b"\x5a\xff", "no CBOR"),
        (b"", "0 bytes"),
        (b"x" * (MAX_RESPONSE + 1), "12289 bytes"),
    ],
)
def test_other_answers_are_refused(device: Path, data: bytes, match: str) -> None:
    with pytest.raises(AttestationFailed, match=match):
        attest(device, FakeNsm(lambda _: data))


def test_errors_of_the_device_say_where(device: Path, tmp_path: Path) -> None:
    def refused(descriptor: int, number: int, message: Message) -> int:
        raise OSError(errno.EPERM, "Operation not permitted")

    with pytest.raises(AttestationFailed, match="not permitted"):
        attest(device, refused)
    with pytest.raises(AttestationFailed, match="status -1"):
        attest(device, lambda *_: -1)
    with pytest.raises(AttestationFailed, match="missing"):
        attest(tmp_path / "missing", FakeNsm(nitro_document))


def test_sizes_are_checked(device: Path) -> None:
    with pytest.raises(ValueError, match="64"):
        NitroAttester(device, FakeNsm(nitro_document)).attest(DIGEST, NONCE, b"")
