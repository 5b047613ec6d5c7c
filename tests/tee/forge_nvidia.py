"""Reports of GPUs and reference manifests under roots of the tests' own: genuine in form, with any one thing wrong.

Written from the formats alone, apart from the verifier. A `GpuForgery` says what is to differ;
`GpuForgery().evidence()` verifies under `ANCHORS` at `NOW`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml import CanonicalizationMethod, DigestAlgorithm, SignatureMethod, XMLSigner

from vml.tee import Evidence, Family, Kind, NvidiaCollateral, Root, TrustAnchors

DAY = 86_400
NOW = 1_800_000_000
NONCE = bytes(range(32))
SERIAL = "41ffeeb20009e0be49"
DEVICE = ("key", "device", "provisioner", "product", "device root")
SIGNERS = ("signer", "issuer", "rim root")
AUTHORITIES = {*DEVICE[1:], *SIGNERS[1:], "other root"}
ISSUERS = {name: (*chain[1:], chain[-1])[at] for chain in (DEVICE, SIGNERS) for at, name in enumerate(chain)}
FIRMWARE = hashlib.sha384(b"firmware").digest()
FWID_OID = "2.23.133.5.4.1"
PRODUCT, DRIVER, VBIOS = "GH100", "550.90.07", "96.00.9F.00.01"
SWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"


def value(index: int, choice: int = 0) -> bytes:
    """The good values of measurement `index`."""
    return hashlib.sha384(f"{index} {choice}".encode()).digest()


BLOCKS = {index + 1: value(index, int(index % 3 == 0)) for index in range(12)}
GOOD = {
    "driver": {index: [value(index), value(index, 1)] for index in range(6)},
    "vbios": {index: [value(index), value(index, 1)] for index in range(6, 9)},
}
OPAQUE = (
    (6, bytes.fromhex("009f009601000000")),
    (3, DRIVER.encode() + b"\x00"),
    (11, b"\x55"),
    (20, FIRMWARE),
    (99, b"unknown"),
)


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(hashlib.sha384(name.encode()).digest(), "big") >> 1, ec.SECP384R1())


def moment(unix: int) -> datetime:
    return datetime.fromtimestamp(unix, UTC)


def _der(tag: int, body: bytes) -> bytes:
    return bytes([tag]) + (bytes([len(body)]) if len(body) < 0x80 else bytes([0x81, len(body)])) + body


def fwid_extension(digest: bytes = FIRMWARE, algorithm: str = "608648016503040202", version: int = 1) -> bytes:
    """The DER of TCG's extension."""
    device = key("device").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    named = _der(0x30, _der(0x06, bytes.fromhex(algorithm)) + _der(0x04, digest))
    return _der(0x30, _der(0x02, bytes([version])) + device + named)


@dataclass(frozen=True)
class GpuForgery:
    """What is to differ from good evidence.

    Args:
        valid: first and last second of certificates, by name of `ISSUERS`.
        issuers: who signs a certificate instead.
        signer: who signs the report.
        extension: DER of the device key's extension; empty for none.
        serial, common: of the device's name.
        blocks, opaque, head: parts of the report.
        products, versions, good, active, rim_signer, rim_certificates: of the manifests, by "driver" and "vbios".
    """

    valid: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    issuers: Mapping[str, str] = field(default_factory=dict)
    signer: str = "key"
    extension: bytes = fwid_extension()
    serial: str = SERIAL
    common: str = f"{PRODUCT} A01 GSP BROM"
    device: tuple[str, ...] = DEVICE
    nonce: bytes = NONCE
    head: bytes = bytes.fromhex("11600000")
    blocks: Mapping[int, bytes] = field(default_factory=lambda: BLOCKS)
    opaque: tuple[tuple[int, bytes], ...] = OPAQUE
    products: Mapping[str, str] = field(default_factory=lambda: {"driver": PRODUCT, "vbios": PRODUCT})
    versions: Mapping[str, str] = field(default_factory=lambda: {"driver": DRIVER, "vbios": VBIOS})
    good: Mapping[str, Mapping[int, list[bytes]]] = field(default_factory=lambda: GOOD)
    passive: tuple[int, ...] = ()
    rim_signer: str = "signer"
    rim_certificates: tuple[str, ...] = SIGNERS

    def certificate(self, name: str) -> x509.Certificate:
        issuer = self.issuers.get(name, ISSUERS.get(name, name))
        first, last = self.valid.get(name, (NOW - 900 * DAY, NOW + 900 * DAY))
        builder = (
            x509.CertificateBuilder()
            .subject_name(self._name(name))
            .issuer_name(self._name(issuer))
            .public_key(key(name).public_key())
            .serial_number(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") | 1)
            .not_valid_before(moment(first))
            .not_valid_after(moment(last))
            .add_extension(x509.BasicConstraints(name in AUTHORITIES, None), critical=True)
        )
        if name == "key" and self.extension:
            oid = x509.ObjectIdentifier(FWID_OID)
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, self.extension), critical=False)
        return builder.sign(key(issuer), SHA384(), ecdsa_deterministic=True)

    def _name(self, name: str) -> x509.Name:
        common = self.common if name == "device" else name
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else []
        if name == "device" and self.serial:
            parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, self.serial))
        return x509.Name(parts)

    def signed(self) -> bytes:
        """Request and answer up to the signature."""
        blocks = b"".join(
            bytes([index, 1]) + b"\x33\x00\x01" + len(digest).to_bytes(2, "little") + digest
            for index, digest in self.blocks.items()
        )
        opaque = b"".join(
            number.to_bytes(2, "little") + len(data).to_bytes(2, "little") + data for number, data in self.opaque
        )
        record = bytes([len(self.blocks)]) + len(blocks).to_bytes(3, "little") + blocks
        request = bytes.fromhex("11e001ff") + self.nonce + b"\x00"
        return request + self.head + record + bytes(32) + len(opaque).to_bytes(2, "little") + opaque

    def report(self) -> bytes:
        return signed_report(self.signed(), self.signer)

    def chain(self) -> bytes:
        return b"".join(self.certificate(name).public_bytes(Encoding.PEM) for name in self.device)

    def manifest(self, which: str) -> bytes:
        """The signed XML of "driver" or "vbios"."""
        return sign_manifest(self.text(which), self.rim_signer, [self.certificate(n) for n in self.rim_certificates])

    def text(self, which: str) -> bytes:
        rows = []
        for index, good in self.good[which].items():
            hashes = " ".join(f'h:Hash{at}="{digest.hex()}"' for at, digest in enumerate(good))
            active = index not in self.passive
            rows.append(
                f'<s:Resource type="Measurement" index="{index}" active="{active}" alternatives="{len(good)}" {hashes} '
                f'name="Measurement_{index}" size="48"/>'
            )
        return (
            f'<SoftwareIdentity xmlns="{SWID}" xmlns:s="{SWID}" xmlns:h="http://www.w3.org/2001/04/xmlenc#sha384" '
            f'name="GH100"><s:Meta colloquialVersion="{self.versions[which]}" product="{self.products[which]}"/>'
            f"<s:Payload>{''.join(rows)}</s:Payload></SoftwareIdentity>"
        ).encode()

    def collateral(self) -> NvidiaCollateral:
        return NvidiaCollateral(self.chain(), self.manifest("driver"), self.manifest("vbios"))

    def evidence(self) -> Evidence:
        return Evidence(Kind.NVIDIA, self.report(), self.collateral())

    def bare(self) -> Evidence:
        """Without manifests."""
        return Evidence(Kind.NVIDIA, self.report(), NvidiaCollateral(self.chain()))


def signed_report(signed: bytes, signer: str = "key") -> bytes:
    """These bytes and a signature over them."""
    r, s = decode_dss_signature(key(signer).sign(signed, ec.ECDSA(SHA384(), deterministic_signing=True)))
    return signed + r.to_bytes(48, "big") + s.to_bytes(48, "big")


def sign_manifest(
    text: bytes,
    signer: str,
    certificates: list[x509.Certificate],
    signature: SignatureMethod = SignatureMethod.ECDSA_SHA384,
    digest: DigestAlgorithm = DigestAlgorithm.SHA384,
    part: str | None = None,
) -> bytes:
    """The text with an enveloped signature as NVIDIA makes it, or over one `part`."""
    maker = XMLSigner(
        signature_algorithm=signature,
        digest_algorithm=digest,
        c14n_algorithm=CanonicalizationMethod.CANONICAL_XML_1_1,
    )
    return bytes(
        etree.tostring(maker.sign(etree.fromstring(text), key=key(signer), cert=certificates, reference_uri=part))
    )


def root_of(name: str, family: Family, forgery: GpuForgery | None = None) -> Root:
    made = (forgery or GpuForgery()).certificate(name)
    spki = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Root(family, hashlib.sha256(made.public_bytes(Encoding.DER)).digest(), hashlib.sha256(spki).digest())


ANCHORS = TrustAnchors(
    [root_of("device root", Family.NVIDIA_DEVICE), root_of("rim root", Family.NVIDIA_RIM)],
)
