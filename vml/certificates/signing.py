"""An authority's own side: its key, and what it signs.

Keys are PEM files (PKCS #8), encrypted where a password is given. Which kind a key is follows from it: Ed25519,
secp256k1 (an account, EIP-712), or with a chain of certificates X.509.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vml.certificates.authority import ED25519, EIP712, X509, Authority
from vml.certificates.chain import require_installed
from vml.certificates.envelope import Signable, Signature
from vml.certificates.revocations import Revocations, SignedRevocations
from vml.certificates.signatures import ORDERS, address_of
from vml.certificates.statement import Certificate, Statement


@dataclass(frozen=True)
class AuthorityKey:
    """A key that signs as an authority.

    Args:
        kind: "ed25519", "eip712" or "x509".
        keys: what goes into a signature: the public key, or the chain's DER, leaf first.
    """

    kind: str
    keys: tuple[bytes, ...]
    _key: Any = field(repr=False)

    @property
    def authority(self) -> Authority | None:
        """What verifiers pin; None for X.509, where they pin a root."""
        if self.kind == ED25519:
            return Authority(ED25519, self.keys)
        return Authority(EIP712, (address_of(self.keys[0]),)) if self.kind == EIP712 else None

    def common_name(self) -> str | None:
        """The name that an X.509 key's certificate gives it; None for other keys."""
        if self.kind != X509:
            return None
        from cryptography import x509

        subject = x509.load_der_x509_certificate(self.keys[0]).subject
        names = [str(name.value) for name in subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        return names[0] if len(names) == 1 else None

    def certificate(self, statement: Statement) -> Certificate:
        """Sign a certificate."""
        return Certificate(statement, self.sign(statement.signable()))

    def revocations(self, revocations: Revocations) -> SignedRevocations:
        """Sign a revocation list."""
        return SignedRevocations(revocations, self.sign(revocations.signable()))

    def sign(self, signed: Signable) -> Signature:
        """The signature of a statement, as `vml.certificates.signatures` checks it."""
        from cryptography.hazmat.primitives.asymmetric import ec, padding
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
        from cryptography.hazmat.primitives.hashes import SHA256, SHA384

        if self.kind == ED25519:
            value = self._key.sign(signed.message(ED25519))
        elif self.kind == EIP712:
            value = _ecdsa(self._key, signed.digest(), Prehashed(SHA256()))
        elif isinstance(self._key, ec.EllipticCurvePrivateKey):
            hashed = SHA256() if self._key.curve.name == "secp256r1" else SHA384()
            value = _ecdsa(self._key, signed.message(X509), hashed)
        else:
            value = self._key.sign(signed.message(X509), padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
        return Signature(self.kind, self.keys, value)


def _ecdsa(key: Any, message: bytes, hashed: Any) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    order = ORDERS[key.curve.name]
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashed)))
    width = (order.bit_length() + 7) // 8
    return r.to_bytes(width, "big") + min(s, order - s).to_bytes(width, "big")


def new_key(kind: str, password: bytes | None = None) -> tuple[bytes, AuthorityKey]:
    """A new key of the system's randomness: its PEM, and the key.

    Raises:
        ValueError: another kind than "ed25519" and "eip712"; an X.509 key comes from whoever certifies it.
        BackendUnavailable: the extra ``certificates`` is not installed.
    """
    require_installed()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if kind not in (ED25519, EIP712):
        raise ValueError(f"a key is of kind {ED25519} or {EIP712}; X.509 keys come from whoever certifies them")
    key = ed25519.Ed25519PrivateKey.generate() if kind == ED25519 else ec.generate_private_key(ec.SECP256K1())
    encryption: Any = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return pem, load_key(pem, password=password)


def load_key(pem: bytes, chain: Sequence[bytes] = (), password: bytes | None = None) -> AuthorityKey:
    """Read an authority's key.

    Args:
        pem: the private key.
        chain: DER of its X.509 certificate and those between it and the root, leaf first; none for the other kinds.
        password: of an encrypted key.

    Raises:
        ValueError: no such key, a wrong password, or a certificate of another key; the message quotes nothing.
        BackendUnavailable: the extra ``certificates`` is not installed.
    """
    require_installed()
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        key = serialization.load_pem_private_key(pem, password)
    except (TypeError, ValueError):
        raise ValueError("not a private key in PEM, or another password is needed (VML_KEY_PASSWORD)") from None
    public = key.public_key()
    if chain:
        supported = isinstance(key, rsa.RSAPrivateKey) or (
            isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ("secp256r1", "secp384r1")
        )
        if not supported or x509.load_der_x509_certificate(chain[0]).public_key() != public:
            raise ValueError("the first certificate of the chain is of another key, or of a kind that is not supported")
        return AuthorityKey(X509, tuple(chain), key)
    if isinstance(public, ed25519.Ed25519PublicKey):
        return AuthorityKey(ED25519, (public.public_bytes_raw(),), key)
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == "secp256k1":
        numbers = public.public_numbers()
        return AuthorityKey(EIP712, (numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"),), key)
    raise ValueError("a key of Ed25519 or secp256k1, or with its chain of certificates one of P-256, P-384 or RSA")
