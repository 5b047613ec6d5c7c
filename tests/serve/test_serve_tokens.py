"""Who may come in with what others vouch for: bearer tokens of an issuer, certificates of an authority."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hmac
import json
import ssl
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.serve.running import Running, bearer, running
from vml.serve import auth
from vml.serve.limits import Rejected
from vml.serve.settings import Access, Oidc

ISSUER, AUDIENCE = "https://issuer.test", "vml"


# ---- bearer tokens


def pem(key: Any) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture(scope="module")
def issuer_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def jwks(issuer_key: rsa.RSAPrivateKey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(issuer_key.public_key()))
    path = tmp_path_factory.mktemp("issuer") / "jwks.json"
    path.write_text(json.dumps({"keys": [{**key, "kid": "k1", "use": "sig", "alg": "RS256"}]}))
    return path


@pytest.fixture(scope="module")
def federated(tiny: Any, jwks: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    access = Access(oidc=Oidc(ISSUER, AUDIENCE, str(jwks)))
    with running(tiny, tmp_path_factory.mktemp("federated"), access=access) as server:
        yield server


def token(key: Any, *, algorithm: str = "RS256", kid: str = "k1", **changes: Any) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 300, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


def test_a_token_comes_in_with_its_roles(federated: Running, issuer_key: rsa.RSAPrivateKey) -> None:
    assert federated.http.get("/v2", headers=bearer(token(issuer_key))).status_code == 200
    assert federated.infer(headers=bearer(token(issuer_key))).status_code == 200
    assert federated.http.get("/v1/claims", headers=bearer(token(issuer_key))).status_code == 403
    auditor = bearer(token(issuer_key, roles=["audit", "read", "made-up", 5]))
    assert federated.http.get("/v1/claims", headers=auditor).status_code == 200
    assert federated.infer(headers=auditor).status_code == 403
    assert federated.http.get("/v2", headers=bearer(token(issuer_key, roles="read"))).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.test"}, {"aud": "somebody"}, {"exp": 1000}, {"exp": None}, {"sub": None}, {"aud": None},
        {"iss": None}, {"kid": "k2"}, {"nbf": 9_999_999_999}, {"algorithm": "RS512"}, {"algorithm": "PS256"},
        {"sub": "x" * 300},
    ],
)  # fmt: skip
def test_other_tokens_do_not(federated: Running, issuer_key: rsa.RSAPrivateKey, changes: dict[str, Any]) -> None:
    assert federated.http.get("/v2", headers=bearer(token(issuer_key, **changes))).status_code == 401


def shared_secret(good: str, public: bytes) -> str:
    """A token signed with the public key as if that were a secret that both sides share."""

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = text(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "k1"}).encode()) + "." + good.split(".")[1]
    return signed + "." + text(hmac.digest(public, signed.encode(), "sha256"))


def test_tokens_of_other_keys_and_unsigned_ones_do_not(
    federated: Running, issuer_key: rsa.RSAPrivateKey, jwks: Path
) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = issuer_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    good = token(issuer_key)
    head, body, signature = good.split(".")
    tokens = [
        token(other),
        shared_secret(good, public),
        token(None, algorithm="none"),
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        "a.b.c",
        "..",
    ]
    for text in tokens:
        assert federated.http.get("/v2", headers=bearer(text)).status_code == 401


@pytest.mark.parametrize("subject", ["", "ada\n", "a\0b", "\ud800", "a" * 251])
def test_a_tokens_subject_is_a_name(federated: Running, issuer_key: rsa.RSAPrivateKey, subject: str) -> None:
    """It stands in records of claims and in the log."""
    refused = federated.infer(headers=bearer(token(issuer_key, sub=subject)))
    assert refused.status_code == 401, refused.text


def test_a_key_that_is_for_something_else_signs_no_tokens(issuer_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(issuer_key.public_key()))
    path = tmp_path / "jwks.json"
    for use, taken in (("enc", False), ("sig", True), (None, True)):
        stated = {} if use is None else {"use": use}
        path.write_text(json.dumps({"keys": [{**key, "kid": "k1", "alg": "RS256", **stated}]}))
        guard = auth.Guard(Access(oidc=Oidc(ISSUER, AUDIENCE, str(path))))
        asked = guard.principal({"authorization": f"Bearer {token(issuer_key)}"})
        if taken:
            assert asyncio.run(asked).name == "oidc:ada"
        else:
            with pytest.raises(Rejected, match="not accepted"):
                asyncio.run(asked)


def test_weak_algorithms_are_no_choice(jwks: Path) -> None:
    for algorithms in (("HS256",), ("none",), ("RS256", "HS512"), ()):
        with pytest.raises(ValueError, match="algorithms"):
            auth.Guard(Access(oidc=Oidc(ISSUER, AUDIENCE, str(jwks), algorithms)))
    with pytest.raises(ValueError, match="https"):
        auth.Guard(Access(oidc=Oidc(ISSUER, AUDIENCE, "http://issuer.test/jwks")))


def test_keys_of_an_issuer_are_fetched_when_they_are_needed_and_no_more_often(
    jwks: Path, issuer_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(client: Any) -> Any:
        asked.append(client.uri)
        return json.loads(jwks.read_text())

    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", fetch)
    guard = auth.Guard(Access(oidc=Oidc(ISSUER, AUDIENCE, "https://issuer.test/jwks")))
    assert not asked

    def ask(text: str) -> auth.Principal:
        return asyncio.run(guard.principal({"authorization": f"Bearer {text}"}))

    for _ in range(3):
        assert ask(token(issuer_key)).name == "oidc:ada"
        for kid in ("made-up", "k3"):
            with pytest.raises(Rejected):
                ask(token(issuer_key, kid=kid))
    assert asked == ["https://issuer.test/jwks"]


# ---- certificates


def certificate(name: str, issuer: Any = None, *, authority: bool = False) -> tuple[Any, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer_name, signer_key = (subject, key) if issuer is None else (issuer[0].subject, issuer[1])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
    )
    if authority:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        local = x509.IPAddress(ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([local]), critical=False)
    return builder.sign(signer_key, hashes.SHA256()), key


def written(folder: Path, name: str, pair: tuple[Any, Any]) -> tuple[Path, Path]:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(pair[0].public_bytes(serialization.Encoding.PEM))
    key.write_bytes(pem(pair[1]))
    return cert, key


def test_mutual_tls(tiny: Any, tmp_path: Path) -> None:
    authority, stranger = certificate("authority", authority=True), certificate("stranger", authority=True)
    ca, _ = written(tmp_path, "ca", authority)
    cert, key = written(tmp_path, "server", certificate("server", authority))
    mine = written(tmp_path, "client", certificate("client", authority))
    theirs = written(tmp_path, "theirs", certificate("theirs", stranger))
    access = Access(certificate=cert, private_key=key, client_ca=ca)

    def context(pair: tuple[Path, Path] | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(ca))
        if pair is not None:
            made.load_cert_chain(*map(str, pair))
        return made

    with running(tiny, tmp_path / "data", access=access, verify=context(mine)) as server:
        answer = server.infer()
        assert answer.status_code == 200
        assert "Strict-Transport-Security" in answer.headers
        for pair in (None, theirs):
            with httpx.Client(base_url=server.url, verify=context(pair)) as http, pytest.raises(httpx.TransportError):
                http.get("/v2")
