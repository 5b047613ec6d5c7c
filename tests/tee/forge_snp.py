"""SEV-SNP reports under a root of the tests' own: genuine in form, with any one thing wrong.

Written from the formats alone, apart from the verifier and from the simulator. A `SnpForgery` says what is to differ;
`SnpForgery().evidence()` verifies under `ANCHORS` at `NOW`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from vml.tee import Evidence, Family, Kind, Root, SnpCollateral, TrustAnchors

DAY = 86_400
NOW = 1_800_000_000
ARC = "1.3.6.1.4.1.3704.1."
CHIP = hashlib.shake_128(b"chip").digest(64)
TCB = bytes([4, 0, 0, 0, 0, 0, 24, 219])
TURIN_TCB = bytes([1, 4, 2, 24, 0, 0, 0, 70])
NAMES = {"root": "ARK", "ask": "SEV", "vek": "SEV-VCEK", "other": "Another root"}
SERIALS = {"root": 1, "ask": 2, "vek": 3, "other": 4}
PROCESSORS = {"Milan": (0x19, 0x01, 1), "Genoa": (0x19, 0x11, 1), "Turin": (0x1A, 0x02, 1)}
FAMILIES = {"Milan": Family.AMD_MILAN, "Genoa": Family.AMD_GENOA, "Turin": Family.AMD_TURIN}
PSS = padding.PSS(padding.MGF1(SHA384()), SHA384.digest_size)

# By byte of a TCB, what stands behind 1.3.6.1.4.1.3704.1.3. in a certificate.
MILAN_PARTS = ("1", "2", "4", "5", "6", "7", "3", "8")
TURIN_PARTS = ("9", "1", "2", "3", "", "", "", "8")


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key(name: str, curve: type[ec.EllipticCurve] = ec.SECP384R1) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.shake_256(name.encode()).digest(curve.key_size // 8), "big") >> 1
    return ec.derive_private_key(number, curve())


def moment(unix: int) -> datetime:
    return datetime.fromtimestamp(unix, UTC)


def integer(value: int) -> bytes:
    body = value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
    return bytes([0x02, len(body)]) + body


def ia5(text: str) -> bytes:
    return bytes([0x16, len(text)]) + text.encode()


@dataclass(frozen=True)
class SnpForgery:
    """What is to differ from a good report.

    `changes` are made before signing, `after` afterwards, both by offset; `extensions` are by the end of their
    number, None takes one out; `valid`, `signers`, `chain`, `authorities` and `critical` are about certificates.
    """

    product: str = "Milan"
    vlek: bool = False
    version: int = 3
    changes: Mapping[int, bytes] = field(default_factory=dict)
    after: Mapping[int, bytes] = field(default_factory=dict)
    extensions: Mapping[str, bytes | None] = field(default_factory=dict)
    valid: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    signers: Mapping[str, str] = field(default_factory=dict)
    chain: tuple[str, ...] = ("ask", "root")
    authorities: tuple[str, ...] = ("root", "ask", "other")
    critical: tuple[str, ...] = ()
    curve: type[ec.EllipticCurve] = ec.SECP384R1
    marked: bool = False
    crl: tuple[int, int] | None = None
    crl_signer: str = "root"
    revoked: tuple[int, ...] = ()
    report_data: bytes = hashlib.shake_128(b"report data").digest(64)
    collateral: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def tcb(self) -> bytes:
        return TURIN_TCB if self.product == "Turin" else TCB

    @property
    def chip(self) -> bytes:
        return CHIP[:8] if self.product == "Turin" else CHIP

    def report(self) -> bytes:
        body = bytearray(0x2A0)
        body[0x00:0x08] = self.version.to_bytes(4, "little") + b"\x07\0\0\0"
        body[0x08:0x10] = (0x30000).to_bytes(8, "little")
        body[0x10:0x30] = hashlib.shake_128(b"ids").digest(32)
        body[0x34] = 1
        body[0x38:0x40] = body[0x180:0x188] = body[0x1E0:0x1E8] = body[0x1F0:0x1F8] = self.tcb
        body[0x40], body[0x48] = 0x25, self.vlek << 2
        body[0x50:0x180] = self.report_data + hashlib.shake_128(b"measured").digest(0x130 - 64)
        body[0x1A0 : 0x1A0 + len(self.chip)] = bytes(len(self.chip)) if self.vlek else self.chip
        body[0x1E8:0x1F0] = bytes([0x1D, 0x37, 1, 0] * 2)
        if self.version >= 3:
            body[0x188:0x18B] = bytes(PROCESSORS[self.product])
        if self.version >= 5:
            body[0x1F8], body[0x200] = 3, 7
        for offset, value in self.changes.items():
            body[offset : offset + len(value)] = value
        key = ec_key(self.signers.get("report", "vek"))
        r, s = decode_dss_signature(key.sign(bytes(body), ec.ECDSA(SHA384(), deterministic_signing=True)))
        made = body + r.to_bytes(72, "little") + s.to_bytes(72, "little") + bytes(368)
        for offset, value in self.after.items():
            made[offset : offset + len(value)] = value
        return bytes(made)

    def certificate(self, name: str) -> x509.Certificate:
        issuer = self.signers.get(name, {"vek": "ask", "other": "other"}.get(name, "root"))
        first, last = self.valid.get(name, (NOW - 900 * DAY, NOW + 900 * DAY))
        key = ec_key("vek", self.curve) if name == "vek" else rsa_key(name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self._name(name))
            .issuer_name(self._name(issuer))
            .public_key(key.public_key())
            .serial_number(SERIALS[name])
            .not_valid_before(moment(first))
            .not_valid_after(moment(last))
        )
        if name in self.authorities:
            builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        for oid, value in self._extensions(name):
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
            builder = builder.add_extension(unknown, critical=oid in self.critical)
        signer = rsa_key(issuer) if issuer != "vek" else rsa_key("other")
        return builder.sign(signer, SHA384(), rsa_padding=PSS)

    def _name(self, name: str) -> x509.Name:
        text = f"{NAMES[name]}-{self.product}" + (" NOT A REAL TEE" if self.marked else "")
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def _extensions(self, name: str) -> list[tuple[str, bytes]]:
        if name != "vek":
            return []
        parts = TURIN_PARTS if self.product == "Turin" else MILAN_PARTS
        made: dict[str, bytes | None] = {"1": integer(0), "2": ia5(self.product + "-B0")}
        made |= {f"3.{part}": integer(value) for part, value in zip(parts, self.tcb, strict=True) if part}
        made |= {"5": ia5("CN=provider")} if self.vlek else {"4": self.chip}
        made |= self.extensions
        return [(ARC + end, value) for end, value in made.items() if value is not None]

    def list(self) -> bytes:
        if self.crl is None:
            return b""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name("root"))
        builder = builder.last_update(moment(self.crl[0])).next_update(moment(self.crl[1]))
        builder = builder.add_extension(x509.CRLNumber(3), critical=False)
        for serial in self.revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment(NOW - DAY))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(rsa_key(self.crl_signer), SHA384(), rsa_padding=PSS).public_bytes(Encoding.DER)

    def snp_collateral(self) -> SnpCollateral:
        parts = {
            "vek": self.certificate("vek").public_bytes(Encoding.DER),
            "chain": b"".join(root_or(self, name) for name in self.chain),
            "crl": self.list(),
        }
        return SnpCollateral(**{**parts, **self.collateral})

    def evidence(self) -> Evidence:
        return Evidence(Kind.SNP, self.report(), self.snp_collateral())


@cache
def _root(product: str, marked: bool) -> x509.Certificate:
    """One certificate for every forgery of a product: the salt of its signature differs each time it is made."""
    return SnpForgery(product=product, marked=marked).certificate("root")


def root_or(forgery: SnpForgery, name: str) -> bytes:
    own = name != "root" or "root" in forgery.valid
    made = forgery.certificate(name) if own else _root(forgery.product, forgery.marked)
    return made.public_bytes(Encoding.PEM)


def root_of(product: str, *, marked: bool = False, simulated: bool = False) -> Root:
    """A root certificate as pinned."""
    made = _root(product, marked)
    public = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digests = (hashlib.sha256(data).digest() for data in (made.public_bytes(Encoding.DER), public))
    return Root(FAMILIES[product], *digests, simulated=simulated)


ANCHORS = TrustAnchors(root_of(product) for product in FAMILIES)
