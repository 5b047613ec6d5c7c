"""A server's receipt: one encoding, one key, one claim."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from vml import canonical
from vml.client import receipts
from vml.errors import EvidenceRejected, MalformedProof, ProofRejected, VerificationError
from vml.tee.binding import Algorithm, Receipt, key_id, public_key_of

KEY = ec.derive_private_key(11, ec.SECP256K1())
PUBLIC = public_key_of(KEY)
ID = key_id(Algorithm.SECP256K1, PUBLIC)
CLAIM = b"\x05" * 32
SIGNED = receipts.sign(Receipt(CLAIM, ID, 3, 7, 1_700_000_000), Algorithm.SECP256K1, PUBLIC, KEY)
FIELDS: dict[str, Any] = canonical.decode(SIGNED.encode(), max_bytes=4096)  # type: ignore[assignment]


def test_a_receipt_verifies() -> None:
    receipts.verify(receipts.read(SIGNED.encode()), CLAIM, ID)
    assert receipts.read(SIGNED.encode().decode()) == SIGNED


def test_p256_verifies() -> None:
    key = ec.derive_private_key(11, ec.SECP256R1())
    public = public_key_of(key)
    named = key_id(Algorithm.P256, public)
    signed = receipts.sign(Receipt(CLAIM, named, 1, 1, 1), Algorithm.P256, public, key)
    receipts.verify(receipts.read(signed.encode()), CLAIM, named)


def test_another_claim_is_refused() -> None:
    with pytest.raises(ProofRejected, match="1:"):
        receipts.verify(SIGNED, b"\x06" * 32, ID)


def test_another_key_is_refused() -> None:
    """Somebody else's good receipt for the same claim."""
    key = ec.derive_private_key(12, ec.SECP256K1())
    public = public_key_of(key)
    named = key_id(Algorithm.SECP256K1, public)
    other = receipts.sign(Receipt(CLAIM, named, 3, 7, 1_700_000_000), Algorithm.SECP256K1, public, key)
    receipts.verify(other, CLAIM, named)
    with pytest.raises(ProofRejected, match="2:"):
        receipts.verify(other, CLAIM, ID)


BLANKS = "0x" + " " * 128
OTHER: dict[str, Any] = {
    "algorithm": "p256",
    "claim": "0x" + "06" * 32,
    "epoch": 4,
    "issued_at": 1_700_000_001,
    "key_id": "0x" + "01" * 32,
    "public_key": "0x" + public_key_of(ec.derive_private_key(12, ec.SECP256K1())).hex(),
    "sequence": 8,
    "signature": "0x" + "01" * 64,
}


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_every_field_is_signed(field: str) -> None:
    altered = receipts.read(canonical.encode({**FIELDS, field: OTHER[field]}))
    with pytest.raises((ProofRejected, EvidenceRejected)):
        receipts.verify(altered, CLAIM, ID)


def test_the_other_half_of_a_signature_is_refused() -> None:
    r, s = SIGNED.signature[:32], int.from_bytes(SIGNED.signature[32:], "big")
    high = (Algorithm.SECP256K1.order - s).to_bytes(32, "big")
    twin = receipts.read(canonical.encode({**FIELDS, "signature": "0x" + (r + high).hex()}))
    with pytest.raises(EvidenceRejected):
        receipts.verify(twin, CLAIM, ID)


@pytest.mark.parametrize("field", sorted(FIELDS))
@pytest.mark.parametrize(
    "value", [None, "", [], {}, 1.5, True, -1, "0x", "0X" + "00" * 32, "0x" + "0g" * 32, "0x" + " " * 128]
)
def test_a_field_of_another_kind_is_refused(field: str, value: Any) -> None:
    try:
        data = canonical.encode({**FIELDS, field: value})
    except (ValueError, TypeError):
        return
    with pytest.raises(MalformedProof):
        receipts.read(data)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", SIGNED.encode() + b" ", b" " + SIGNED.encode(), b"[" * 5000])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedProof):
        receipts.read(data)


@given(st.binary(max_size=300))
def test_noise_raises_only_verification_errors(data: bytes) -> None:
    with pytest.raises(VerificationError):
        receipts.read(data)
