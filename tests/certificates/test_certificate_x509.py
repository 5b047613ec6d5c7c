"""Authorities under X.509: which chains, keys and names are accepted, and which are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.certificates.certifying import (
    DAY,
    NAME,
    NOW,
    STATEMENT,
    House,
    authorities,
    check,
    der,
    house,
    issued,
    pem_of,
    refused,
    usage,
    x509_house,
)
from vml.certificates.authority import Authority
from vml.certificates.chain import PURPOSES
from vml.certificates.envelope import Signature
from vml.certificates.signing import load_key
from vml.certificates.statement import Certificate
from vml.errors import CertificateRejected, MalformedProof

P256 = ec.generate_private_key(ec.SECP256R1())
LAB = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lab B")]))
DNS = x509.DNSName("lab-b.example")


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("chain", {"begins": NOW - 3 * DAY, "ends": NOW - 2 * DAY}),
        ("chain", {"begins": NOW + 2 * DAY, "ends": NOW + 3 * DAY}),
        ("chain", {"extra": x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")}),
        ("key_usage", {"rights": usage(key_encipherment=True)}),
        ("key_usage", {"ca": True, "rights": usage(digital_signature=True, key_cert_sign=True)}),
        ("key_usage", {"rights": usage(digital_signature=True, key_cert_sign=True)}),
        ("key_usage", {"ca": True, "rights": usage(digital_signature=True)}),
        ("key_usage", {"extra": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])}),
        ("key_usage", {"extra": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])}),
        ("issuer", {"subject": "Somebody Else"}),
    ],
    ids=[
        "expired",
        "early",
        "critical extension",
        "usage",
        "authority",
        "signs certificates",
        "CA",
        "TLS",
        "OCSP",
        "name",
    ],
)
def test_the_certificate_of_the_key(reason: str, changes: dict[str, Any]) -> None:
    by = x509_house(P256, **changes)
    with pytest.raises(CertificateRejected) as caught:
        check(by.key.certificate(STATEMENT), by)
    assert caught.value.reason in ({reason, "chain"} if "ca" in changes else {reason})


def test_a_leaf_without_constraints_may_sign() -> None:
    by = x509_house(P256, constraints=False)
    assert check(by.key.certificate(STATEMENT), by)
    nonrepudiation = x509_house(P256, rights=usage(content_commitment=True))
    assert check(nonrepudiation.key.certificate(STATEMENT), nonrepudiation)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_keys_made_for_documents(purpose: str) -> None:
    others = [ExtendedKeyUsageOID.SERVER_AUTH, x509.ObjectIdentifier(purpose)]
    by = x509_house(P256, extra=x509.ExtendedKeyUsage(others))
    assert check(by.key.certificate(STATEMENT), by)


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    ("constraints", "accepted"),
    [
        (x509.NameConstraints([LAB], None), False),
        (x509.NameConstraints(None, [LAB]), False),
        (x509.NameConstraints([DNS, LAB], None), False),
        (x509.NameConstraints([DNS], None), True),
    ],
)
def test_names_that_the_path_restricts(constraints: x509.NameConstraints, accepted: bool, critical: bool) -> None:
    root_key, root, _, _ = authorities()
    middle_key = ec.generate_private_key(ec.SECP256R1())
    middle = issued(middle_key, "Lab B's", root, root_key, ca=True, extra=constraints, critical=critical)
    leaf = issued(P256, NAME, middle, middle_key)
    by = House(load_key(pem_of(P256), (der(leaf), der(middle))), Authority("x509", (der(root),)))
    made = by.key.certificate(STATEMENT)
    if accepted:
        assert check(made, by)
    else:
        refused("chain", made, by)


def test_times_beyond_the_calendar() -> None:
    by = house("x509-p256")
    said = replace(STATEMENT, not_before=0, not_after=(1 << 53) - 1)
    for at in ((1 << 53) - 1, 253402300800):
        refused("chain", by.key.certificate(said), by, at=at)


def test_a_chain_with_a_gap_or_around_the_root() -> None:
    by = house("x509-p256")
    made = by.key.certificate(STATEMENT)
    leaf, middle = made.signature.keys
    refused("chain", replace(made, signature=replace(made.signature, keys=(leaf,))), by)
    refused("key_usage", replace(made, signature=replace(made.signature, keys=(middle,))), by)
    beside = replace(made.signature, keys=(leaf, middle, der(authorities("two")[3])))
    assert "beside the path" in str(refused("chain", replace(made, signature=beside), by))
    assert "beside the path" in str(
        refused("chain", replace(made, signature=replace(beside, keys=(leaf, middle, *by.authority.keys))), by)
    )
    _, other_root, _, _ = authorities("two")
    refused("chain", replace(made, signature=replace(made.signature, keys=(leaf, der(other_root)))), by)
    assert check(made, House(by.key, Authority("x509", (der(other_root), *by.authority.keys))))


def test_a_leaf_signs_no_leaf() -> None:
    """The classic: a certificate for documents that signs another certificate."""
    by = house("x509-p256")
    _, _, _, middle = authorities()
    leaf = x509.load_der_x509_certificate(by.key.keys[0])
    below = ec.generate_private_key(ec.SECP256R1())
    forged = issued(below, NAME, leaf, by.key._key)
    key = load_key(pem_of(below), (der(forged), by.key.keys[0], der(middle)))
    refused("chain", key.certificate(STATEMENT), by)


def test_the_leaf_key_of_another_certificate() -> None:
    by, other = x509_house(P256), x509_house(ec.generate_private_key(ec.SECP256R1()))
    made = by.key.certificate(STATEMENT)
    refused("signature", replace(made, signature=replace(made.signature, keys=other.key.keys)), by)


def test_small_rsa_and_other_curves_are_refused() -> None:
    small = rsa.generate_private_key(65537, 1024)
    by = x509_house(small)
    with pytest.raises(CertificateRejected) as caught:
        check(by.key.certificate(STATEMENT), by)
    assert caught.value.reason in ("chain", "key_usage")
    with pytest.raises(ValueError, match="not supported"):
        x509_house(ec.generate_private_key(ec.SECP521R1()))
    _, root, middle_key, middle = authorities()
    leaf = issued(ec.generate_private_key(ec.SECP521R1()), NAME, middle, middle_key)
    signature = Signature("x509", (der(leaf), der(middle)), bytes(132))
    refused("key_usage", Certificate(STATEMENT, signature), House(by.key, Authority("x509", (der(root),))))


def test_a_certificate_that_is_none() -> None:
    made = house("x509-p256").key.certificate(STATEMENT)
    with pytest.raises(MalformedProof):
        check(replace(made, signature=replace(made.signature, keys=(b"noise",))), house("x509-p256"))
