"""The one encoding of certificates and lists: each field's rules, and authorities' keys as they are written."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.certificates.certifying import EMPTY_LIST, KINDS, REVOKING, STATEMENT, authorities, der, house, pem_of
from vml import canonical
from vml.certificates.authority import Authority
from vml.certificates.revocations import MAX_REVOKED, SignedRevocations
from vml.certificates.signing import load_key, new_key
from vml.certificates.statement import Certificate
from vml.errors import MalformedProof

BYTES32 = ("0x" + "00" * 31, "0x" + "AA" * 32, "00" * 32, 5, None)
TEXTS = ("", "x" * 201, "a\u0007b", "a\nb", "a\u202eb", 5, None)
NAMES = (*TEXTS, " House", "House ", "House\u3164", "Ho\u2800use", "House\u115f", "House\u1160", "House\uffa0")
NUMBERS = ("", "1.", ".5", "01", "1/0", "-1/2", "+1", "1e3", " 1", "0." + "0" * 63, 1, None)
WHOLE = (-1, True, "1", 1.5, 1 << 53, None)

BAD: dict[str, tuple[Any, ...]] = {
    "certificate.issuer": NAMES,
    "certificate.serial": BYTES32,
    "certificate.subject": NAMES,
    "certificate.not_before": (*WHOLE, STATEMENT.not_after + 1),
    "certificate.not_after": (*WHOLE, STATEMENT.not_before - 1),
    "certificate.scope": ({}, [], {"contexts": [], "text": "", "more": 1}),
    "certificate.scope.text": ("x" * 4001, "a\u0007b", 5),
    "certificate.scope.contexts": (["0x" + "11" * 32] * 2, ["0x" + "22" * 32, "0x" + "11" * 32], [5], 5, ["00"] * 257),
    "certificate.identities": ([], 5, [5], [{}]),
    "certificate.identities.0.model": BYTES32,
    "certificate.identities.0.backend": TEXTS,
    "certificate.identities.0.scheme": TEXTS,
    "certificate.accuracy": (5, [5], [{}]),
    "certificate.accuracy.0.metric": TEXTS,
    "certificate.accuracy.0.output": TEXTS,
    "certificate.accuracy.0.reference": TEXTS,
    "certificate.accuracy.0.value": (*NUMBERS, "11/10", "1.01", "-0.5"),
    "certificate.accuracy.0.rows": (*WHOLE, 0),
    "certificate.accuracy.0.dataset": BYTES32,
    "certificate.accuracy.0.command": ("", "x" * 4001, 5),
    "signature": ({}, 5, []),
    "signature.kind": TEXTS,
    "signature.keys": ([], 5, [5], ["*"], ["AAAA"] * 9, [base64.b64encode(bytes((1 << 14) + 1)).decode()]),
    "signature.value": ("*", "AB==", 5, base64.b64encode(bytes(1025)).decode()),
    "format": ("vml-model-certificate/2", "vml-certificate/1", 5),
}
BAD_LIST: dict[str, tuple[Any, ...]] = {
    "revocations.issuer": NAMES,
    "revocations.number": (*WHOLE, 0),
    "revocations.issued_at": (*WHOLE, REVOKING.next_update + 1),
    "revocations.next_update": (*WHOLE, REVOKING.issued_at - 1),
    "revocations.revoked": (5, [5], [{}]),
    "revocations.revoked.0.serial": BYTES32,
    "revocations.revoked.0.revoked_at": WHOLE,
    "revocations.revoked.0.reason": ("x" * 201, 5, "a\nb"),
    "format": ("vml-revocations/2", 5),
}


def paths(value: Any, prefix: str = "") -> set[str]:
    """Every member, of lists the first element."""
    if isinstance(value, dict):
        return {each for name, item in value.items() for each in {prefix + name, *paths(item, f"{prefix}{name}.")}}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return paths(value[0], f"{prefix}0.")
    return set()


def altered(data: bytes, path: str, other: Any) -> bytes:
    value = json.loads(data)
    *way, last = path.split(".")
    inner = value
    for name in way:
        inner = inner[int(name) if name.isdigit() else name]
    inner[last] = other
    try:
        return canonical.encode(value)
    except canonical.NotCanonical:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


CERTIFICATE = house("ed25519").key.certificate(STATEMENT).to_bytes()
LIST = house("ed25519").key.revocations(REVOKING).to_bytes()


def test_every_field_is_listed() -> None:
    assert paths(json.loads(CERTIFICATE)) - {"certificate"} == set(BAD)
    assert paths(json.loads(LIST)) - {"revocations"} - set(BAD_LIST) == {
        each for each in BAD if each.startswith("signature")
    }


@pytest.mark.parametrize(("path", "other"), [(path, other) for path, others in BAD.items() for other in others])
def test_fields_of_certificates(path: str, other: Any) -> None:
    with pytest.raises(MalformedProof):
        Certificate.from_bytes(altered(CERTIFICATE, path, other))


@pytest.mark.parametrize(("path", "other"), [(path, other) for path, others in BAD_LIST.items() for other in others])
def test_fields_of_lists(path: str, other: Any) -> None:
    with pytest.raises(MalformedProof):
        SignedRevocations.from_bytes(altered(LIST, path, other))


def test_members_are_exactly_those() -> None:
    for data, read in ((CERTIFICATE, Certificate.from_bytes), (LIST, SignedRevocations.from_bytes)):
        for path in ("more", "signature.more"):
            with pytest.raises(MalformedProof):
                read(altered(data, path, 1))
    with pytest.raises(MalformedProof):
        Certificate.from_bytes(altered(CERTIFICATE, "certificate.more", 1))
    with pytest.raises(MalformedProof):
        SignedRevocations.from_bytes(altered(LIST, "revocations.revoked.0.more", 1))


def test_lists_are_in_order_and_bounded() -> None:
    entry = json.loads(LIST)["revocations"]["revoked"][0]
    low = {**entry, "serial": "0x" + "00" * 32}
    for entries in ([entry, entry], [entry, low], [entry] * (MAX_REVOKED + 1)):
        with pytest.raises(MalformedProof):
            SignedRevocations.from_bytes(altered(LIST, "revocations.revoked", entries))
    assert SignedRevocations.from_bytes(altered(LIST, "revocations.revoked", [low, entry]))
    measure = json.loads(CERTIFICATE)["certificate"]["accuracy"][0]
    for measures in ([measure, measure], [measure, {**measure, "metric": "aaa"}]):
        with pytest.raises(MalformedProof):
            Certificate.from_bytes(altered(CERTIFICATE, "certificate.accuracy", measures))
    with pytest.raises(MalformedProof, match="two values of one metric"):
        Certificate.from_bytes(altered(CERTIFICATE, "certificate.accuracy", [measure, {**measure, "value": "9/10"}]))
    other = {**measure, "value": "9/10", "dataset": "0x" + "00" * 32}
    assert Certificate.from_bytes(altered(CERTIFICATE, "certificate.accuracy", [measure, other]))


def test_too_large() -> None:
    with pytest.raises(MalformedProof):
        Certificate.from_bytes(b'"' + b"x" * (1 << 18) + b'"')


def test_other_spellings_of_numbers_are_exact_values() -> None:
    elsewhere = altered(CERTIFICATE, "certificate.accuracy.0.metric", "coefficient of determination")
    for value in ("0", "0.975", "-1.50", "39/40", "0/1", "11/10"):
        data = altered(elsewhere, "certificate.accuracy.0.value", value)
        assert Certificate.from_bytes(data).statement.accuracy[0].value == value


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoding_is_its_own_inverse(kind: str) -> None:
    key = house(kind).key
    made, listed = key.certificate(STATEMENT), key.revocations(EMPTY_LIST)
    assert Certificate.from_bytes(made.to_bytes()) == made
    assert SignedRevocations.from_bytes(listed.to_bytes()) == listed


def test_authorities_as_they_are_written(tmp_path: Path) -> None:
    for kind in ("ed25519", "eip712"):
        authority = house(kind).authority
        assert Authority.parse(str(authority)) == Authority.load(str(authority)) == authority
        file = tmp_path / f"{kind}.pub"
        file.write_text(f"{authority}\n")
        assert Authority.load(file) == authority
    _, root, _, _ = authorities()
    pem = tmp_path / "root.pem"
    pem.write_bytes(root.public_bytes(serialization.Encoding.PEM) * 2)
    assert Authority.load(pem).keys == (der(root), der(root))
    assert str(Authority.load(pem)).startswith("x509:")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519:",
        "ed25519:0x00",
        "ed25519:" + "00" * 33,
        "eip712:0x00",
        "x509:0x" + "00" * 32,
        "rsa:0x" + "00" * 32,
    ],
)
def test_texts_that_are_no_authorities(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        Authority.parse(text)
    file = tmp_path / "key.pub"
    file.write_text(text)
    with pytest.raises(ValueError):
        Authority.load(file)


def test_files_that_are_no_authorities(tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    file.write_bytes(b"\xff" * 40)
    with pytest.raises(ValueError):
        Authority.load(file)
    file.write_bytes(b"x" * (1 << 18))
    with pytest.raises(ValueError, match="more than"):
        Authority.load(file)
    file.write_bytes(b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n")
    with pytest.raises(MalformedProof):
        Authority.load(file)


@pytest.mark.parametrize("kind", ["ed25519", "eip712"])
def test_keys_are_kept_encrypted_where_a_password_is_given(kind: str) -> None:
    pem, key = new_key(kind, b"secret words")
    assert b"ENCRYPTED" in pem
    assert load_key(pem, password=b"secret words").keys == key.keys
    for password in (None, b"others"):
        with pytest.raises(ValueError, match="another password"):
            load_key(pem, password=password)
    assert str(pem) not in repr(key)


def test_keys_that_sign_nothing() -> None:
    with pytest.raises(ValueError, match="whoever certifies"):
        new_key("x509")
    with pytest.raises(ValueError, match="a key of Ed25519"):
        load_key(pem_of(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(ValueError, match="of another key"):
        load_key(pem_of(ec.generate_private_key(ec.SECP256R1())), (der(authorities()[1]),))
    with pytest.raises(ValueError, match="not a private key"):
        load_key(b"noise")
