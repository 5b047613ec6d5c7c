"""What an attested key is for, and what it signs: key certificates and receipts.

A key is made inside and attested once. The evidence carries the digest of its **key certificate**::

    digest = SHA-256("vml/tee-key/v1" || CBOR {1: alg, 2: public key, 3: model, 4: policy id, 5: epoch, 6: not_after})

CBOR in the deterministic form of RFC 8949, section 4.2.1; where GPUs take part there is a seventh entry, the digest of
their evidence (`vml.tee.gpus`). SGX, TDX, SNP: ``report_data[0:32]`` is the digest and
``report_data[32:64]`` the verifier's nonce. Nitro: ``user_data``, ``nonce``, and ``public_key`` is the key.

Each run is then worth one signature, a **receipt**::

    Receipt(bytes32 claim,bytes32 keyId,uint64 epoch,uint64 sequence,uint64 issuedAt)

hashed as EIP-712 says under the domain of claims ``{name: "vml", version: "1"}``. Its claim names one use of one run by
its context, so a chain id would say nothing more. A key's id is ``keccak256(alg || public key)``; algorithms are 1
(ECDSA over secp256k1) and 2 (ECDSA over P-256), public keys x and y, 32 bytes each. Signatures are r and s, 32 bytes
each, of the receipt's digest itself, with s in the lower half of the order: nobody makes a second one of it.

Sources: EIP-712; EIP-2 (low s); SEC 1, section 4.1; RFC 6979 (the nonce follows from key and message).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vml.claim import DOMAIN_SEPARATOR
from vml.errors import BackendUnavailable
from vml.keccak import keccak256
from vml.tee.reasons import Reason, rejected
from vml.tee.verified import NitroClaims, Verified

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

KEY_TAG = b"vml/tee-key/v1"
RECEIPT_TYPE = b"Receipt(bytes32 claim,bytes32 keyId,uint64 epoch,uint64 sequence,uint64 issuedAt)"
RECEIPT_TYPE_HASH = keccak256(RECEIPT_TYPE)
PUBLIC_KEY = 64
SIGNATURE = 64
UINT64 = 1 << 64


class Algorithm(IntEnum):
    """How a key signs: ECDSA over one of two curves."""

    SECP256K1 = 1
    P256 = 2

    @property
    def order(self) -> int:
        """The number of points of the curve."""
        return ORDERS[self]


ORDERS = {
    Algorithm.SECP256K1: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    Algorithm.P256: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}


def _require_bytes(**fields: tuple[bytes, int]) -> None:
    for name, (value, size) in fields.items():
        if not isinstance(value, bytes) or len(value) != size:
            raise ValueError(f"{name} has to be {size} bytes")


def _require_uint64(**fields: int) -> None:
    for name, value in fields.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < UINT64:
            raise ValueError(f"{name} has to be an integer of 64 bits")


@dataclass(frozen=True, slots=True)
class KeyCertificate:
    """What a key may sign for. Its digest is what evidence carries.

    Args:
        algorithm: how it signs.
        public_key: 64 bytes, x and y.
        model: 32 bytes, the model commitment whose weights the measured code hashed before it made the key.
        policy_id: 32 bytes, the appraisal policy the key was made for.
        epoch: rises with each rotation.
        not_after: last unix second at which the key signs.
        gpus: 32 bytes, the digest of the GPUs' evidence; None where no GPU takes part.

    Raises:
        ValueError: a field of another size or range.
    """

    algorithm: Algorithm
    public_key: bytes
    model: bytes
    policy_id: bytes
    epoch: int
    not_after: int
    gpus: bytes | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", Algorithm(self.algorithm))
        _require_bytes(public_key=(self.public_key, PUBLIC_KEY), model=(self.model, 32), policy_id=(self.policy_id, 32))
        _require_uint64(epoch=self.epoch, not_after=self.not_after)
        if self.gpus is not None:
            _require_bytes(gpus=(self.gpus, 32))

    @property
    def key_id(self) -> bytes:
        """32 bytes that name the key."""
        return key_id(self.algorithm, self.public_key)

    def encode(self) -> bytes:
        """The certificate as deterministic CBOR."""
        fields: list[int | bytes] = [int(self.algorithm), self.public_key, self.model, self.policy_id]
        fields += [self.epoch, self.not_after]
        if self.gpus is not None:
            fields.append(self.gpus)
        parts = [_head(5, len(fields))]
        for name, value in enumerate(fields, 1):
            parts += [_head(0, name), _head(0, value) if isinstance(value, int) else _head(2, len(value)) + value]
        return b"".join(parts)

    def digest(self) -> bytes:
        """The 32 bytes that evidence carries."""
        return hashlib.sha256(KEY_TAG + self.encode()).digest()


def _head(major: int, value: int) -> bytes:
    """The head of a CBOR item, in its shortest form."""
    if value < 24:
        return bytes([major << 5 | value])
    width = next(width for width in (1, 2, 4, 8) if value < 1 << (8 * width))
    return bytes([major << 5 | 23 + width.bit_length()]) + value.to_bytes(width, "big")


@dataclass(frozen=True, slots=True)
class Receipt:
    """One claim, signed by one key.

    Args:
        claim: 32 bytes, the claim's digest.
        key_id: 32 bytes.
        epoch: the key's.
        sequence: counts the key's receipts; a consumer takes each number once.
        issued_at: unix seconds by the clock inside, which the host may set.

    Raises:
        ValueError: a field of another size or range.
    """

    claim: bytes
    key_id: bytes
    epoch: int
    sequence: int
    issued_at: int

    def __post_init__(self) -> None:
        _require_bytes(claim=(self.claim, 32), key_id=(self.key_id, 32))
        _require_uint64(epoch=self.epoch, sequence=self.sequence, issued_at=self.issued_at)

    def digest(self) -> bytes:
        """The 32 bytes that are signed."""
        numbers = b"".join(value.to_bytes(32, "big") for value in (self.epoch, self.sequence, self.issued_at))
        message = keccak256(RECEIPT_TYPE_HASH + self.claim + self.key_id + numbers)
        return keccak256(b"\x19\x01" + DOMAIN_SEPARATOR + message)


def key_id(algorithm: Algorithm, public_key: bytes) -> bytes:
    """The 32 bytes that name a key of 64 bytes."""
    return keccak256(bytes([algorithm]) + public_key)


def public_key_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key, x and y, 32 bytes each."""
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def sign_receipt(receipt: Receipt, algorithm: Algorithm, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Sign a receipt; the same key and receipt give the same bytes.

    Args:
        receipt: it has to name this key.
        algorithm: of the key.
        key: on the algorithm's curve.

    Returns:
        64 bytes.

    Raises:
        ValueError: the receipt or the algorithm is another key's.
        BackendUnavailable: the extra ``tee`` is not installed.
    """
    require_installed()
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    if not isinstance(key.curve, type(_curve(algorithm))) or receipt.key_id != key_id(algorithm, public_key_of(key)):
        raise ValueError("the receipt names another key")
    method = ec.ECDSA(Prehashed(SHA256()), deterministic_signing=True)
    r, s = decode_dss_signature(key.sign(receipt.digest(), method))
    return r.to_bytes(32, "big") + min(s, algorithm.order - s).to_bytes(32, "big")


def verify_receipt(receipt: Receipt, signature: bytes, certificate: KeyCertificate) -> None:
    """Check that a receipt is an attested key's. Returns nothing or raises.

    Whether the key is attested is `require_bound`'s business; whether the sequence number was seen before is the
    consumer's.

    Args:
        receipt: what is said.
        signature: 64 bytes.
        certificate: of the key, from evidence that was accepted.

    Raises:
        EvidenceRejected: RECEIPT_SIGNATURE (also for a receipt that names another key), EPOCH_ROTATED, KEY_EXPIRED.
        BackendUnavailable: the extra ``tee`` is not installed.
    """
    # step 1: the receipt names this key, in its epoch, while it lasts.
    if receipt.key_id != certificate.key_id:
        raise rejected(Reason.RECEIPT_SIGNATURE, "the receipt names another key")
    if receipt.epoch != certificate.epoch:
        raise rejected(Reason.EPOCH_ROTATED, f"a receipt of epoch {receipt.epoch}, a key of epoch {certificate.epoch}")
    if receipt.issued_at > certificate.not_after:
        raise rejected(Reason.KEY_EXPIRED, f"the key ended at unix time {certificate.not_after}")
    # step 2: the key signed it, in the one spelling a signature has.
    r, s = _split(signature, certificate.algorithm)
    if not _verified(certificate.algorithm, b"\x04" + certificate.public_key, r, s, receipt.digest()):
        raise rejected(Reason.RECEIPT_SIGNATURE, "not this key's signature")


def require_bound(certificate: KeyCertificate, verified: Verified) -> None:
    """Check that genuine evidence carries this key certificate. Returns nothing or raises.

    Raises:
        EvidenceRejected: KEY_BINDING; KEY_OUTLIVES_EVIDENCE where the key would sign after something that the
            evidence rests on ends.
    """
    # step 1: the evidence carries this certificate.
    if verified.bound_digest != certificate.digest():
        raise rejected(Reason.KEY_BINDING, "the evidence carries another digest")
    if isinstance(verified, NitroClaims) and verified.public_key != certificate.public_key:
        raise rejected(Reason.KEY_BINDING, "the document carries another public key")
    # step 2: the key does not outlive what it rests on.
    if verified.not_after is not None and certificate.not_after > verified.not_after:
        end = f"{verified.limited_by} ends at unix time {verified.not_after}"
        raise rejected(Reason.KEY_OUTLIVES_EVIDENCE, f"the key at {certificate.not_after}, {end}")


def recoverable(receipt: Receipt, signature: bytes, public_key: bytes) -> bytes:
    """A secp256k1 signature as contracts take it: r, s and v (27 or 28), 65 bytes.

    v tells which of the two points R with the abscissa r was the signer's: the one with ``s R - e G = r Q`` for the
    hash e and the public key Q, that is ``Q = (-e/r) G + (s/r) R``. A library that checks signatures checks sums of
    this kind, so it is asked about the key R, the signature (q, t) and the hash ``-e t/r``, with q the abscissa of Q
    and ``t = q r/s``.

    Raises:
        EvidenceRejected: RECEIPT_SIGNATURE where it is not this key's signature.
        BackendUnavailable: the extra ``tee`` is not installed.
    """
    _require_bytes(public_key=(public_key, PUBLIC_KEY))
    algorithm, digest = Algorithm.SECP256K1, receipt.digest()
    r, s = _split(signature, algorithm)
    if not _verified(algorithm, b"\x04" + public_key, r, s, digest):
        raise rejected(Reason.RECEIPT_SIGNATURE, "not this key's signature")
    order = algorithm.order
    q = int.from_bytes(public_key[:32], "big") % order
    t = q * r * pow(s, -1, order) % order
    asked = (-int.from_bytes(digest, "big") * pow(r, -1, order) * t % order).to_bytes(32, "big")
    odd = _verified(algorithm, b"\x03" + signature[:32], q, t, asked)
    return signature + bytes([27 + odd])


def _split(signature: bytes, algorithm: Algorithm) -> tuple[int, int]:
    if len(signature) != SIGNATURE:
        raise rejected(Reason.RECEIPT_SIGNATURE, f"{len(signature)} bytes, not {SIGNATURE}")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if s > algorithm.order // 2:
        raise rejected(Reason.RECEIPT_SIGNATURE, "s is not in the lower half of the order")
    return r, s


def _verified(algorithm: Algorithm, point: bytes, r: int, s: int, digest: bytes) -> bool:
    """Whether (r, s) is a signature of `digest` by the key with this encoded point; False where it is no point."""
    require_installed()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(_curve(algorithm), point)
        key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


@cache
def _curve(algorithm: Algorithm) -> ec.EllipticCurve:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.SECP256K1() if algorithm == Algorithm.SECP256K1 else ec.SECP256R1()


@cache
def require_installed() -> None:
    """Raise BackendUnavailable where the extra ``tee`` is missing."""
    if find_spec("cryptography") is None:
        raise BackendUnavailable("checking signatures needs the extra tee: pip install 'vml[tee]'")
