"""Certificates: what holds holds, and every attack is refused with the documented error."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.certificates.certifying import (
    CIRCUIT,
    CLAIM,
    CONTEXT,
    ED,
    EMPTY_LIST,
    KINDS,
    MODEL,
    NAME,
    NOW,
    REVOKING,
    SERIAL,
    STATEMENT,
    House,
    authorities,
    check,
    der,
    house,
    pem_of,
    refused,
)
from vml import canonical
from vml.api import certified
from vml.backends.types import VerifiedClaim
from vml.certificates.authority import Authority
from vml.certificates.envelope import Signature
from vml.certificates.memory import recall, remember
from vml.certificates.revocations import Revoked, SignedRevocations
from vml.certificates.signatures import ORDERS
from vml.certificates.signing import load_key
from vml.certificates.statement import EXACT, Certificate, CertifiedIdentity, Scope
from vml.certificates.verify import Certified, list_names
from vml.claim import Claim
from vml.errors import CertificateRejected, MalformedProof, PolicyRejected, VerificationError

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_a_certificate_holds_and_says_whose_it_is(kind: str) -> None:
    by = house(kind)
    data = by.key.certificate(STATEMENT).to_bytes()
    found = check(data, by)
    assert Certificate.from_bytes(data).statement == found.statement == STATEMENT
    shown = found.to_json()
    assert shown["issuer"] == NAME
    assert shown["authority"] == str(by.authority)
    assert shown["accuracy"][0]["value"] == "351/360"
    assert shown["further_identities"] == 1
    assert "no revocation list was given" in found.remark()
    json.dumps(shown)
    for seconds in (STATEMENT.not_before, STATEMENT.not_after):
        assert check(data, by, at=seconds).statement == STATEMENT


@every_kind
def test_another_authority(kind: str) -> None:
    certificate = house(kind).key.certificate(STATEMENT)
    for other in KINDS:
        stranger = house(other, "two")
        if stranger.authority != house(kind).authority:
            refused("chain" if kind[:4] == other[:4] == "x509" else "authority", certificate, stranger)
    assert check(certificate, authorities=[house("ed25519", "two").authority, house(kind).authority]).authority
    strangers = [house("ed25519", "two").authority, house("eip712", "two").authority]
    with pytest.raises(CertificateRejected, match=r"authority.*; .*authority"):
        check(certificate, authorities=strangers)


@every_kind
def test_every_altered_field_breaks_the_signature(kind: str) -> None:
    by = house(kind)
    value = json.loads(by.key.certificate(STATEMENT).to_bytes())
    said = value["certificate"]
    alterations: dict[str, Any] = {
        "issuer": "Another House",
        "serial": "0x" + "45" * 32,
        "subject": "letters",
        "not_before": said["not_before"] - 1,
        "not_after": said["not_after"] + 1,
        "scope": {**said["scope"], "text": "anything"},
        "accuracy": [{**said["accuracy"][0], "value": "360/360"}],
        "identities": said["identities"][:1],
    }
    assert set(alterations) == set(said)
    more = [
        {**said, "scope": {**said["scope"], "contexts": []}},
        {**said, "accuracy": []},
        *({**said, "accuracy": [{**said["accuracy"][0], name: other}]} for name, other in ACCURACY.items()),
        *(
            {**said, "identities": [{**said["identities"][0], name: other}, said["identities"][1]]}
            for name, other in {"backend": "exacu", "scheme": "vml-int/2", "model": "0x" + "10" * 32}.items()
        ),
    ]
    assert set(ACCURACY) == set(said["accuracy"][0])
    for altered in [*({**said, name: other} for name, other in alterations.items()), *more]:
        data = canonical.encode({**value, "certificate": altered})
        with pytest.raises(CertificateRejected) as caught:
            check(data, by)
        assert caught.value.reason in ("signature", "issuer")


ACCURACY = {
    "metric": "recall",
    "output": "other",
    "reference": "float model",
    "value": "1",
    "rows": 361,
    "dataset": "0x" + "00" * 32,
    "command": "by hand",
}


@every_kind
def test_every_altered_part_of_the_signature(kind: str) -> None:
    by = house(kind)
    made = by.key.certificate(STATEMENT)
    flipped = bytes([made.signature.value[0] ^ 1]) + made.signature.value[1:]
    for value in (flipped, made.signature.value[:-1], made.signature.value + b"\0", b""):
        refused("signature", replace(made, signature=replace(made.signature, value=value)), by)
    extra = replace(made.signature, keys=(*made.signature.keys, made.signature.keys[0]))
    if not kind.startswith("x509"):
        refused("authority", replace(made, signature=extra), by)
        refused("authority", replace(made, signature=replace(made.signature, keys=(bytes(64),))), by)
    for other in ("ed25519", "eip712", "x509", "none", "ed25519\n"):
        if other != made.signature.kind:
            refused("authority", replace(made, signature=replace(made.signature, kind=other)), by)


@pytest.mark.parametrize("kind", ["eip712", "x509-p256", "x509-p384"])
def test_an_ecdsa_signature_has_one_spelling(kind: str) -> None:
    by = house(kind)
    made = by.key.certificate(STATEMENT)
    width = len(made.signature.value) // 2
    order = ORDERS[{"eip712": "secp256k1", "x509-p256": "secp256r1", "x509-p384": "secp384r1"}[kind]]
    r, s = made.signature.value[:width], int.from_bytes(made.signature.value[width:], "big")
    for other in (order - s, 0):
        twin = replace(made.signature, value=r + other.to_bytes(width, "big"))
        refused("signature", replace(made, signature=twin), by)


def test_an_account_that_is_no_point_of_the_curve() -> None:
    by, key = house("eip712"), bytes(64)
    from vml.certificates.signatures import address_of

    made = by.key.certificate(STATEMENT)
    forged = replace(made, signature=replace(made.signature, keys=(key,)))
    refused("signature", forged, House(by.key, Authority("eip712", (address_of(key),))))


def test_one_key_never_signs_as_another_kind() -> None:
    """A key of P-256 or Ed25519 that was also given a certificate: what it signed as one kind is no other's."""
    key = ed25519.Ed25519PrivateKey.generate()
    plain = load_key(pem_of(key))
    assert plain.authority is not None
    signed = STATEMENT.signable()
    as_x509 = Signature("ed25519", plain.keys, key.sign(signed.message("x509")))
    bare = Signature("ed25519", plain.keys, key.sign(signed.body))
    other = Signature("ed25519", plain.keys, key.sign(EMPTY_LIST.signable().message("ed25519")))
    for signature in (as_x509, bare, other):
        refused("signature", Certificate(STATEMENT, signature), House(plain, plain.authority))
    assert plain.sign(signed) == Signature("ed25519", plain.keys, key.sign(signed.message("ed25519")))


def test_a_wallet_signs_the_documented_struct() -> None:
    """eth_account hashes the typed data from the types alone."""
    from eth_account import Account
    from eth_account.messages import encode_typed_data

    from vml.keccak import keccak256

    for made, name, fields, values in (
        (
            STATEMENT.signable(),
            "ModelCertificate",
            "string issuer,bytes32 serial,bytes32[] models,string scope,uint64 notBefore,uint64 notAfter,bytes32 body",
            (
                *(NAME, SERIAL, [MODEL, CIRCUIT], STATEMENT.scope.text, STATEMENT.not_before, STATEMENT.not_after),
                keccak256(STATEMENT.signable().body),
            ),
        ),
        (
            EMPTY_LIST.signable(),
            "RevocationList",
            "string issuer,uint64 number,uint64 issuedAt,uint64 nextUpdate,bytes32 body",
            (NAME, 3, EMPTY_LIST.issued_at, EMPTY_LIST.next_update, keccak256(EMPTY_LIST.signable().body)),
        ),
    ):
        types = [dict(zip(("type", "name"), field.split(" "), strict=True)) for field in fields.split(",")]
        message = {each["name"]: value for each, value in zip(types, values, strict=True)}
        encoded = encode_typed_data({"name": "vml certificates", "version": "1"}, {name: types}, message)
        account = Account.from_key(bytes(range(1, 33)))
        signature = account.sign_message(encoded).signature
        public = account._key_obj.public_key.to_bytes()
        ours = Signature("eip712", (public,), bytes(signature[:64]))
        from vml.certificates.signatures import check_signature

        check_signature(Authority.parse(f"eip712:{account.address}"), made, ours, NOW)


def test_expired_and_not_yet_valid() -> None:
    made = ED.key.certificate(STATEMENT)
    refused("expired", made, at=STATEMENT.not_after + 1)
    refused("not_yet_valid", made, at=STATEMENT.not_before - 1)


def test_the_certificate_of_another_model() -> None:
    made = ED.key.certificate(STATEMENT)
    stranger = replace(CLAIM, model=b"\x99" * 32)
    refused("model", made, claims=[stranger])
    refused("model", made, claims=[CLAIM, stranger])
    assert len(check(made, claims=[CLAIM, CLAIM]).identities) == 1


def test_arithmetic_counts() -> None:
    made = ED.key.certificate(STATEMENT)
    circuit = Certified(CIRCUIT, CONTEXT, "ezkl fixed point", "ezkl/x")
    assert check(made, claims=[circuit]).identities[0].backend == "ezkl"
    refused("model", made, claims=[replace(circuit, scheme="ezkl/y")])
    refused("model", made, claims=[replace(CLAIM, semantics="vml-int/2")])
    refused("model", made, claims=[replace(CLAIM, semantics="ezkl/x", model=CIRCUIT, scheme="")])


def test_scope() -> None:
    made = ED.key.certificate(STATEMENT)
    refused("scope", made, claims=[replace(CLAIM, context=bytes(32))])
    anything = ED.key.certificate(replace(STATEMENT, scope=Scope("anything")))
    assert check(anything, claims=[replace(CLAIM, context=bytes(32))])


def test_a_padded_list_of_identities() -> None:
    """The same identity twice, one out of order, one put in afterwards, none: refused; the count is shown."""
    twice = (STATEMENT.identities[0], *STATEMENT.identities)
    backwards = STATEMENT.identities[::-1]
    for identities in (twice, backwards, (), tuple(sorted(many()))):
        data = ED.key.certificate(replace(STATEMENT, identities=identities)).to_bytes()
        with pytest.raises(MalformedProof, match="identities"):
            check(data)
    made = ED.key.certificate(STATEMENT)
    padded = tuple(sorted((*STATEMENT.identities, CertifiedIdentity(b"\x99" * 32, EXACT, "vml-int/1"))))
    refused("signature", replace(made, statement=replace(STATEMENT, identities=padded)))


def many() -> list[CertifiedIdentity]:
    return [CertifiedIdentity(MODEL, EXACT, f"vml-int/{number}") for number in range(100, 165)]


@every_kind
def test_a_revocation_list_without_it(kind: str) -> None:
    by = house(kind)
    found = check(
        by.key.certificate(STATEMENT),
        by,
        revocations=by.key.revocations(EMPTY_LIST).to_bytes(),
        require_revocation=True,
    )
    assert (found.revocations, found.next_update, found.revoked) == (3, EMPTY_LIST.next_update, None)
    assert "not revoked by list 3" in found.remark()


@every_kind
def test_revoked(kind: str) -> None:
    by = house(kind)
    error = refused("revoked", by.key.certificate(STATEMENT), by, revocations=by.key.revocations(REVOKING))
    assert "labels were wrong" in str(error)


def test_revoked_after_the_time_in_question() -> None:
    made, listed = ED.key.certificate(STATEMENT), ED.key.revocations(REVOKING)
    found = check(made, at=NOW - 6, now=NOW, revocations=listed)
    assert found.revoked == Revoked(SERIAL, NOW - 5, "labels were wrong")
    assert "it held at the time" in found.remark()
    assert found.to_json()["revoked_since"]["revoked_at"] == NOW - 5
    refused("revoked", made, at=NOW - 5, now=NOW, revocations=listed)


def test_a_list_that_is_required() -> None:
    with pytest.raises(PolicyRejected, match="require_revocation"):
        check(ED.key.certificate(STATEMENT), require_revocation=True)


def test_a_stale_list_and_one_of_the_future() -> None:
    made, listed = ED.key.certificate(STATEMENT), ED.key.revocations(EMPTY_LIST)
    refused("stale", made, now=EMPTY_LIST.next_update + 1, revocations=listed)
    refused("revocation_list", made, now=EMPTY_LIST.issued_at - 1, revocations=listed)
    for seconds in (EMPTY_LIST.issued_at, EMPTY_LIST.next_update):
        assert check(made, now=seconds, revocations=listed)


def test_an_older_list_than_the_last_one_seen() -> None:
    made, listed = ED.key.certificate(STATEMENT), ED.key.revocations(EMPTY_LIST)
    (name,) = list_names(str(ED.authority), NAME)
    assert check(made, revocations=listed, known_lists={name: 3})
    refused("stale", made, revocations=listed, known_lists={name: 4})
    strangers = *list_names(str(house("ed25519", "two").authority), NAME), *list_names(str(ED.authority), "Another")
    assert check(made, revocations=listed, known_lists=dict.fromkeys(strangers, 9))


def test_another_pinned_root_makes_nobody_forget(tmp_path: Path) -> None:
    by, (_, root, _, _) = house("x509-p256"), authorities("two")
    made, newer = by.key.certificate(STATEMENT), by.key.revocations(replace(EMPTY_LIST, number=9))
    remember(tmp_path / "memory", [check(made, by, revocations=newer)])
    older, both = by.key.revocations(EMPTY_LIST), Authority("x509", (der(root), *by.authority.keys))
    refused("stale", made, House(by.key, both), revocations=older, known_lists=recall(tmp_path / "memory"))


def test_two_audits_at_once_forget_nothing(tmp_path: Path) -> None:
    memory = tmp_path / "memory"

    def note(number: int) -> None:
        said = replace(STATEMENT, issuer=f"House {number}")
        listed = ED.key.revocations(replace(EMPTY_LIST, issuer=said.issuer))
        remember(memory, [check(ED.key.certificate(said), revocations=listed)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(note, range(24)))
    assert len(recall(memory)) == 24


def test_a_list_of_somebody_else() -> None:
    made = ED.key.certificate(STATEMENT)
    refused("authority", made, revocations=house("ed25519", "two").key.revocations(EMPTY_LIST))
    refused("authority", made, revocations=house("eip712").key.revocations(EMPTY_LIST))
    listed = ED.key.revocations(EMPTY_LIST)
    other = replace(listed, revocations=replace(EMPTY_LIST, number=9))
    refused("signature", made, revocations=other)
    refused("revocation_list", made, revocations=ED.key.revocations(replace(EMPTY_LIST, issuer="Another House")))


def test_a_list_under_another_name_is_not_passed_over() -> None:
    """The authority's own list revokes the certificate, but calls its issuer otherwise."""
    claim = Claim(MODEL, bytes(32), bytes(32), CONTEXT)
    verdict = VerifiedClaim((claim,), "optimistic", CLAIM.scheme, "economic", "vml-int/1", 0)
    data = ED.key.certificate(STATEMENT).to_bytes()
    lists = [ED.key.revocations(each).to_bytes() for each in (REVOKING, EMPTY_LIST, replace(REVOKING, issuer="House"))]
    asked: Any = {"authorities": [ED.authority], "at": NOW}
    assert certified(verdict, [data], revocations=lists[1:2], **asked)[0].revocations == 3
    with pytest.raises(CertificateRejected, match="revoked"):
        certified(verdict, [data], revocations=lists[:1], **asked)
    for given in (lists[2:], lists[1:]):
        with pytest.raises(CertificateRejected, match="revocation_list: that of 'House'"):
            certified(verdict, [data], revocations=given, **asked)


def test_a_certificate_is_no_list_and_a_list_no_certificate() -> None:
    with pytest.raises(MalformedProof):
        check(ED.key.revocations(EMPTY_LIST).to_bytes())
    with pytest.raises(MalformedProof):
        check(ED.key.certificate(STATEMENT), revocations=ED.key.certificate(STATEMENT).to_bytes())


def test_nothing_to_verify_is_a_callers_mistake() -> None:
    made = ED.key.certificate(STATEMENT)
    with pytest.raises(ValueError):
        check(made, claims=[])
    with pytest.raises(ValueError):
        check(made, authorities=[])


def test_any_bytes_raise_the_documented_errors() -> None:
    data = ED.key.certificate(STATEMENT).to_bytes()
    for at in range(0, len(data), 3):
        for other in (
            data[:at],
            data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
            data[:at] + b"\xff" + data[at + 1 :],
        ):
            with pytest.raises(VerificationError):
                check(other)


def test_duplicated_keys_are_refused() -> None:
    data = ED.key.certificate(STATEMENT).to_bytes()
    twice = data.replace(b'"not_after":', b'"not_after":9007199254740991,"not_after":')
    spaced = data.replace(b",", b", ", 1)
    for other in (twice, spaced, data + b"\n", data.replace(b"vml-model-certificate/1", b"vml-model-certificate/2")):
        with pytest.raises(MalformedProof):
            check(other)
    listed = ED.key.revocations(REVOKING).to_bytes().replace(b'"number":', b'"number":9,"number":')
    with pytest.raises(MalformedProof):
        SignedRevocations.from_bytes(listed)
