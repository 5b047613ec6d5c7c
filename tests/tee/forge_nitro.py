"""Nitro attestation documents under a root of the tests' own: genuine in form, with any one thing wrong.

Written from the formats alone, apart from the verifier and from the simulator; CBOR by `cbor2`. A `NitroForgery` says
what is to differ; `NitroForgery().evidence()` verifies under `ANCHORS` at `NOW`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from tests.tee.forge_snp import DAY, NOW, ec_key, moment
from vml.tee import Evidence, Family, Kind, Root, TrustAnchors

NAMES = ("root", "region", "zone", "instance", "leaf", "other")
ISSUERS = {"region": "root", "zone": "region", "instance": "zone", "leaf": "instance"}
BUNDLE = ("root", "region", "zone", "instance")
PROTECTED = bytes.fromhex("a1013822")


@dataclass(frozen=True)
class NitroForgery:
    """What is to differ from a good document. `payload` changes the map before it is encoded and signed."""

    payload: Callable[[dict[str, Any]], object] = lambda item: None
    encode: Callable[[dict[str, Any]], bytes] = cbor2.dumps
    outer: Callable[[list[Any]], bytes] = cbor2.dumps
    signer: str = "leaf"
    signers: Mapping[str, str] = field(default_factory=dict)
    valid: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    authorities: tuple[str, ...] = ("root", "region", "zone", "instance", "other")
    critical: tuple[str, ...] = ()
    curve: type[ec.EllipticCurve] = ec.SECP384R1
    bundle: tuple[str, ...] = BUNDLE
    marked: bool = False

    def certificate(self, name: str) -> bytes:
        issuer = self.signers.get(name, ISSUERS.get(name, name))
        first, last = self.valid.get(name, (NOW - 900 * DAY, NOW + 900 * DAY))
        key = ec_key(name, self.curve) if name == "leaf" else ec_key(name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self._name(name))
            .issuer_name(self._name(issuer))
            .public_key(key.public_key())
            .serial_number(NAMES.index(name) + 1)
            .not_valid_before(moment(first))
            .not_valid_after(moment(last))
            .add_extension(x509.BasicConstraints(name in self.authorities, None), critical=True)
        )
        if name in self.critical:
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
            builder = builder.add_extension(unknown, critical=True)
        return builder.sign(ec_key(issuer), SHA384(), ecdsa_deterministic=True).public_bytes(Encoding.DER)

    def _name(self, name: str) -> x509.Name:
        text = name + (" NOT A REAL TEE" if self.marked else "")
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def item(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "module_id": "i-0123-enc4567",
            "digest": "SHA384",
            "timestamp": NOW * 1000,
            "pcrs": {index: hashlib.sha384(bytes([index])).digest() for index in range(16)},
            "certificate": self.certificate("leaf"),
            "cabundle": [self.certificate(name) for name in self.bundle],
            "public_key": b"\x04" + bytes(64),
            "user_data": hashlib.sha256(b"certificate").digest(),
            "nonce": hashlib.sha256(b"nonce").digest(),
        }
        self.payload(made)
        return made

    def document(self) -> bytes:
        return self.wrap(self.encode(self.item()))

    def wrap(self, payload: bytes) -> bytes:
        """A payload signed and put into its message."""
        signed = cbor2.dumps(["Signature1", PROTECTED, b"", payload])
        key = ec_key(self.signer, self.curve)
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA384(), deterministic_signing=True)))
        return self.outer([PROTECTED, {}, payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")])

    def evidence(self) -> Evidence:
        return Evidence(Kind.NITRO, self.document())


def open_map(item: dict[str, Any]) -> bytes:
    """A map without its length, as AWS writes since 2025."""
    return b"\xbf" + b"".join(cbor2.dumps(name) + cbor2.dumps(value) for name, value in item.items()) + b"\xff"


@cache
def root_of(*, marked: bool = False, simulated: bool = False, family: Family = Family.AWS_NITRO) -> Root:
    """The root certificate as pinned."""
    made = NitroForgery(marked=marked).certificate("root")
    public = ec_key("root").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Root(family, hashlib.sha256(made).digest(), hashlib.sha256(public).digest(), simulated=simulated)


ANCHORS = TrustAnchors([root_of()])
