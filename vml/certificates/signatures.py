"""Checking a signature against a pinned authority. Which algorithm is used follows from the pin, never from the file.

* ``ed25519``: the pinned key, over `Signable.message` (RFC 8032); the base install checks it.
* ``eip712``: a secp256k1 key whose address is pinned, over `Signable.digest`; r and s, 32 bytes each.
* ``x509``: the key of the leaf of a chain to a pinned root, over `Signable.message`: ECDSA over P-256 with SHA-256 or
  P-384 with SHA-384 (r and s), RSA of 2048 bits or more as PSS with SHA-256 and a salt of 32 bytes.

ECDSA signatures have s in the lower half of the order, so that nobody makes a second one of them.

Sources: RFC 8032; EIP-712; EIP-2; RFC 8017, section 8.1; SEC 1, section 4.1; SEC 2 (orders).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vml.certificates.authority import ED25519, EIP712, Authority
from vml.certificates.chain import checked_leaf, require_installed
from vml.certificates.envelope import Signable, Signature
from vml.errors import CertificateRejected
from vml.keccak import keccak256
from vml.transparency.note import ed25519_verifies

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

ORDERS = {
    "secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}
ADDRESS_BYTES = 20
MIN_RSA_BITS = 2048


def address_of(key: bytes) -> bytes:
    """The address of a secp256k1 key: x and y, 64 bytes."""
    return keccak256(key)[-ADDRESS_BYTES:]


def check_signature(authority: Authority, signed: Signable, signature: Signature, at: int) -> None:
    """Check that an authority signed a statement. Returns nothing or raises.

    Args:
        authority: pinned.
        signed: what.
        signature: from the file.
        at: unix seconds, at which the chain of an X.509 key has to hold.

    Raises:
        CertificateRejected: AUTHORITY, SIGNATURE, or as `vml.certificates.chain.checked_leaf`.
        MalformedProof: an X.509 certificate that is none.
        BackendUnavailable: a kind that needs the extra ``certificates``, which is not installed.
    """
    # step 1: of the pinned kind
    if signature.kind != authority.kind:
        raise CertificateRejected("authority", f"signed by a key of kind {signature.kind!r}, not by {authority}")

    # step 2: by the pinned key, and right
    if authority.kind == ED25519:
        if signature.keys != authority.keys:
            raise CertificateRejected("authority", f"signed by another key than {authority}")
        if not ed25519_verifies(authority.keys[0], signature.value, signed.message(ED25519)):
            raise CertificateRejected("signature", f"not that of {authority}")
    elif authority.kind == EIP712:
        if tuple(map(address_of, signature.keys)) != authority.keys:
            raise CertificateRejected("authority", f"signed by another account than {authority}")
        if not _account_signed(signature.keys[0], signature.value, signed.digest()):
            raise CertificateRejected("signature", f"not that of {authority}")
    else:
        leaf = checked_leaf(signature.keys, authority.keys, signed.issuer, at)
        if not _certified_key_signed(leaf.public_key(), signature.value, signed.message(authority.kind)):
            raise CertificateRejected("signature", f"not that of the certified key of {signed.issuer!r}")


def _account_signed(key: bytes, value: bytes, digest: bytes) -> bool:
    require_installed()
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        loaded = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), b"\x04" + key)
    except ValueError:
        return False
    return _ecdsa(loaded, value, digest, ec.ECDSA(Prehashed(SHA256())))


def _certified_key_signed(key: Any, value: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384

    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        return _ecdsa(key, value, message, ec.ECDSA(SHA256()))
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp384r1":
        return _ecdsa(key, value, message, ec.ECDSA(SHA384()))
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        try:
            key.verify(value, message, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
        except InvalidSignature:
            return False
        return True
    raise CertificateRejected("key_usage", "the certified key is neither of P-256, P-384 nor RSA of 2048 bits")


def _ecdsa(key: ec.EllipticCurvePublicKey, value: bytes, message: bytes, algorithm: ec.ECDSA) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    order = ORDERS[key.curve.name]
    width = (order.bit_length() + 7) // 8
    r, s = int.from_bytes(value[:width], "big"), int.from_bytes(value[width:], "big")
    if len(value) != 2 * width or not 0 < s <= order // 2:
        return False
    try:
        key.verify(encode_dss_signature(r, s), message, algorithm)
    except InvalidSignature:
        return False
    return True
