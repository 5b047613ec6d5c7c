"""Authorities of every kind, and certificates of theirs, for tests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from vml.certificates.authority import X509, Authority
from vml.certificates.revocations import Revocations, Revoked
from vml.certificates.signing import AuthorityKey, load_key, new_key
from vml.certificates.statement import EXACT, Accuracy, Certificate, CertifiedIdentity, Scope, Statement
from vml.certificates.verify import Certified, VerifiedCertificate, verify_certificate
from vml.errors import CertificateRejected

NOW = 1_800_000_000
DAY = 86_400
NAME = "Example Testing House"
MODEL, CIRCUIT, CONTEXT = b"\x11" * 32, b"\x22" * 32, b"\x33" * 32
SERIAL = b"\x44" * 32
DATASET = hashlib.sha256(b"rows").digest()

STATEMENT = Statement(
    issuer=NAME,
    serial=SERIAL,
    subject="digits",
    identities=(CertifiedIdentity(MODEL, EXACT, "vml-int/1"), CertifiedIdentity(CIRCUIT, "ezkl", "ezkl/x")),
    accuracy=(Accuracy("accuracy", "scores", "labels", "351/360", 360, DATASET, "vml certify --holdout rows.npz"),),
    not_before=NOW - DAY,
    not_after=NOW + DAY,
    scope=Scope("reading digits\nno medical use", (CONTEXT,)),
)
EMPTY_LIST = Revocations(NAME, 3, NOW - DAY, NOW + DAY, ())
REVOKING = Revocations(NAME, 4, NOW - DAY, NOW + DAY, (Revoked(SERIAL, NOW - 5, "labels were wrong"),))
CLAIM = Certified(MODEL, CONTEXT, "vml-int/1", "optimistic/1")


@dataclass(frozen=True)
class House:
    """A key and what verifiers pin for it."""

    key: AuthorityKey
    authority: Authority


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def usage(**rights: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: rights.get(name, False) for name in names})


def issued(
    key: Any,
    subject: str,
    issuer: x509.Certificate | None,
    issuer_key: Any,
    *,
    ca: bool = False,
    depth: int | None = None,
    rights: x509.KeyUsage | None = None,
    begins: int = NOW - 10 * DAY,
    ends: int = NOW + 10 * DAY,
    extra: x509.ExtensionType | None = None,
    constraints: bool = True,
    critical: bool = True,
) -> x509.Certificate:
    """An X.509 certificate; without an issuer self-signed."""
    rights = rights or usage(**({"key_cert_sign": True} if ca else {"digital_signature": True}))
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(subject))
        .issuer_name(issuer.subject if issuer else name_of(subject))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(subject.encode()).digest()[:16], "big"))
        .not_valid_before(moment(begins))
        .not_valid_after(moment(ends))
        .add_extension(rights, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if constraints:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=depth), critical=True)
    if extra is not None:
        builder = builder.add_extension(extra, critical=critical)
    return builder.sign(issuer_key, SHA256())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def pem_of(key: Any) -> bytes:
    plain = serialization.NoEncryption()
    made: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return made


def authorities(which: str = "one") -> tuple[Any, x509.Certificate, Any, x509.Certificate]:
    """A root and an authority for certificates below it, with their keys."""
    return _authorities(which)


@cache
def _authorities(which: str) -> tuple[Any, x509.Certificate, Any, x509.Certificate]:
    root_key, middle_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = issued(root_key, f"Root {which}", None, root_key, ca=True)
    middle = issued(middle_key, f"Issuing {which}", root, root_key, ca=True, depth=0)
    return root_key, root, middle_key, middle


def x509_house(key: Any, which: str = "one", **changes: Any) -> House:
    """A key certified under a root; `changes` as for `issued`."""
    _, root, middle_key, middle = authorities(which)
    leaf = issued(key, changes.pop("subject", NAME), middle, middle_key, **changes)
    return House(load_key(pem_of(key), (der(leaf), der(middle))), Authority(X509, (der(root),)))


def house(kind: str, which: str = "one") -> House:
    """An authority of a kind: ed25519, eip712, x509-p256, x509-p384, x509-rsa."""
    return _house(kind, which)


@cache
def _house(kind: str, which: str) -> House:
    if kind in ("ed25519", "eip712"):
        key = new_key(kind)[1]
        assert key.authority is not None
        return House(key, key.authority)
    if kind == "x509-rsa":
        return x509_house(rsa.generate_private_key(65537, 2048), which)
    curve = ec.SECP256R1() if kind == "x509-p256" else ec.SECP384R1()
    return x509_house(ec.generate_private_key(curve), which)


KINDS = ("ed25519", "eip712", "x509-p256", "x509-p384", "x509-rsa")
ED = house("ed25519")


def check(certificate: Certificate | bytes, by: House = ED, **options: Any) -> VerifiedCertificate:
    options = {"authorities": [by.authority], "at": NOW, **options}
    return verify_certificate(certificate, options.pop("claims", [CLAIM]), **options)


def refused(reason: str, certificate: Certificate | bytes, by: House = ED, **options: Any) -> CertificateRejected:
    with pytest.raises(CertificateRejected) as caught:
        check(certificate, by, **options)
    assert caught.value.reason == reason
    return caught.value
