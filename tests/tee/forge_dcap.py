"""Quotes and collateral under a root of the tests' own: genuine in form, with any one thing wrong.

Written from the formats alone, apart from the verifier and from the simulator. A `Forgery` says what is to differ;
`Forgery().evidence()` verifies under `ANCHORS` at `NOW`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from vml.tee import DcapCollateral, Evidence, Family, Kind, Root, TrustAnchors

DAY = 86_400
NOW = 1_800_000_000
FMSPC = bytes.fromhex("00906ed50000")
PPID = bytes(range(16))
QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
SIGNER = bytes([0xDC]) * 32
SERIALS = {"root": 1, "ca": 2, "pck": 3, "tcb": 4, "other": 5}
NAMES = {"root": "Root", "ca": "PCK CA", "pck": "PCK", "tcb": "TCB signing", "other": "Other root"}

Change = Callable[[dict[str, Any]], object]


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") >> 1, ec.SECP256R1())


def raw_point(name: str) -> bytes:
    return key(name).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def sign(name: str, data: bytes) -> bytes:
    r, s = decode_dss_signature(key(name).sign(data, ec.ECDSA(SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def moment(unix: int) -> datetime:
    return datetime.fromtimestamp(unix, UTC)


def iso(unix: int) -> str:
    return moment(unix).strftime("%Y-%m-%dT%H:%M:%SZ")


def element(tag: int, body: bytes) -> bytes:
    """One DER element."""
    size = len(body)
    length = (
        bytes([size]) if size < 0x80 else bytes([0x81, size]) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")
    )
    return bytes([tag]) + length + body


def sgx_extension(svns: tuple[int, ...], pce_svn: int, fmspc: bytes, pce_id: bytes, ppid: bytes) -> bytes:
    """The DER of Intel's extension."""
    prefix = bytes.fromhex("2a864886f84d010d01")

    def pair(name: bytes, value: bytes) -> bytes:
        return element(0x30, element(0x06, prefix + name) + value)

    def integer(value: int) -> bytes:
        return element(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    versions = b"".join(pair(bytes([2, index + 1]), integer(value)) for index, value in enumerate((*svns, pce_svn)))
    versions += pair(b"\x02\x12", element(0x04, bytes(svn & 0xFF for svn in svns)))
    fields = pair(b"\x01", element(0x04, ppid)) + pair(b"\x02", element(0x30, versions))
    fields += (
        pair(b"\x03", element(0x04, pce_id))
        + pair(b"\x04", element(0x04, fmspc))
        + pair(b"\x05", element(0x0A, b"\x00"))
    )
    return element(0x30, fields)


@dataclass(frozen=True)
class Certificates:
    """How certificates are to be; every name is one of NAMES."""

    valid: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    serials: Mapping[str, int] = field(default_factory=dict)
    signers: Mapping[str, str] = field(default_factory=dict)
    authorities: tuple[str, ...] = ("root", "ca", "other")
    extensions: Mapping[str, tuple[tuple[str, bytes, bool], ...]] = field(default_factory=dict)
    sgx: bytes = b""

    def make(self, name: str) -> x509.Certificate:
        issuer = self.signers.get(name, {"pck": "ca", "other": "other"}.get(name, "root"))
        first, last = self.valid.get(name, (NOW - 900 * DAY, NOW + 900 * DAY))
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(issuer))
            .public_key(key(name).public_key())
            .serial_number(self.serials.get(name, SERIALS[name]))
            .not_valid_before(moment(first))
            .not_valid_after(moment(last))
            .add_extension(x509.BasicConstraints(name in self.authorities, None), critical=True)
        )
        if name == "pck" and self.sgx:
            oid = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, self.sgx), critical=False)
        for dotted, value, critical in self.extensions.get(name, ()):
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), value)
            builder = builder.add_extension(unknown, critical=critical)
        return builder.sign(key(issuer), SHA256(), ecdsa_deterministic=True)

    def pem(self, *names: str) -> bytes:
        return b"".join(self.make(name).public_bytes(Encoding.PEM) for name in names)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAMES[name])])


def crl(issuer: str, serials: tuple[int, ...], valid: tuple[int, int], signer: str = "", number: int = 7) -> bytes:
    """A revocation list that names `serials`."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(_name(issuer))
    builder = builder.last_update(moment(valid[0])).next_update(moment(valid[1]))
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment(valid[0]))
        builder = builder.add_revoked_certificate(entry.build())
    made = builder.sign(key(signer or issuer), SHA256(), ecdsa_deterministic=True)
    return made.public_bytes(Encoding.DER)


def level(tcb: dict[str, Any], status: str = "UpToDate", *advisories: str) -> dict[str, Any]:
    item = {"tcb": tcb, "tcbDate": "2025-01-01T00:00:00Z", "tcbStatus": status}
    return item | ({"advisoryIDs": list(advisories)} if advisories else {})


def platform_level(
    sgx: int = 0, pce: int = 0, tdx: int | None = None, status: str = "UpToDate", *advisories: str
) -> dict[str, Any]:
    """A level that asks for the same version of every component, but of no version of the TDX module."""
    tcb: dict[str, Any] = {"sgxtcbcomponents": [{"svn": sgx}] * 16, "pcesvn": pce}
    if tdx is not None:
        tcb["tdxtcbcomponents"] = [{"svn": tdx}, {"svn": 0}] + [{"svn": tdx}] * 14
    return level(tcb, status, *advisories)


SIZES = {2: 584, 3: 648, 4: 885}
MODULE = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}


@dataclass(frozen=True)
class Forgery:
    """What is to differ from a good quote. Offsets are into the part they are named for."""

    tdx: bool = True
    version: int = 4
    body_type: int = 3
    header: Mapping[int, bytes] = field(default_factory=dict)
    body: Mapping[int, bytes] = field(default_factory=dict)
    qe: Mapping[int, bytes] = field(default_factory=dict)
    svns: tuple[int, ...] = (5,) * 16
    pce_svn: int = 11
    fmspc: bytes = FMSPC
    pce_id: bytes = bytes(2)
    extension: bytes | None = None
    certificates: Certificates = Certificates()
    tcb_info: Change = lambda item: None
    identity: Change = lambda item: None
    revoked: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    lists: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    list_signers: Mapping[str, str] = field(default_factory=dict)
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    signers: Mapping[str, str] = field(default_factory=dict)
    collateral: Mapping[str, bytes] = field(default_factory=dict)
    event_log: bytes | None = None

    def signed(self) -> bytes:
        """Header and body."""
        tee = 0x81 if self.tdx else 0
        header = bytearray(48)
        header[0:8] = self.version.to_bytes(2, "little") + b"\x02\x00" + tee.to_bytes(4, "little")
        header[12:28] = QE_VENDOR
        late = self.version == 5
        size = 384 if not self.tdx else SIZES.get(self.body_type, 648) if late else 584
        body = bytearray(hashlib.shake_128(b"body").digest(size))
        if self.tdx:
            body[0:16] = bytes([6, 1]) + bytes([5]) * 14
            body[64:128] = bytes(64)
            body[123] = 0x10
            body[584:648] = (body[0:16] + bytes(48))[: len(body) - 584]
            body[648:] = bytes(len(body[648:]))
        else:
            body[48:64] = bytes([5]) + bytes(15)
        _put(header, self.header)
        _put(body, self.body)
        kind = self.body_type.to_bytes(2, "little") + size.to_bytes(4, "little") if late else b""
        return bytes(header) + kind + bytes(body)

    def qe_report(self, auth: bytes) -> bytes:
        report = bytearray(384)
        report[48] = 0x15
        report[128:160] = SIGNER
        report[256:258] = (2 if self.tdx else 1).to_bytes(2, "little")
        report[258:260] = (6).to_bytes(2, "little")
        report[320:352] = hashlib.sha256(raw_point("ak") + auth).digest()
        _put(report, self.qe)
        return bytes(report)

    def chain(self, name: str, *default: str) -> bytes:
        sgx = self.extension
        if sgx is None:
            sgx = sgx_extension(self.svns, self.pce_svn, self.fmspc, self.pce_id, PPID)
        return replace(self.certificates, sgx=sgx).pem(*self.chains.get(name, default))

    def quote(self) -> bytes:
        signed, auth = self.signed(), bytes(range(32))
        report, pem = self.qe_report(auth), self.chain("pck", "pck", "ca", "root")
        inner = report + sign(self.signers.get("qe", "pck"), report)
        inner += len(auth).to_bytes(2, "little") + auth + b"\x05\x00" + len(pem).to_bytes(4, "little") + pem
        outer = inner if self.version == 3 else b"\x06\x00" + len(inner).to_bytes(4, "little") + inner
        data = sign(self.signers.get("quote", "ak"), signed) + raw_point("ak") + outer
        return signed + len(data).to_bytes(4, "little") + data

    def tcb_info_json(self) -> bytes:
        item: dict[str, Any] = {
            "id": "TDX" if self.tdx else "SGX",
            "version": 3,
            "issueDate": iso(NOW - 10 * DAY),
            "nextUpdate": iso(NOW + 20 * DAY),
            "fmspc": FMSPC.hex().upper(),
            "pceId": "0000",
            "tcbType": 0,
            "tcbEvaluationDataNumber": 20,
            "tcbLevels": [platform_level(5, 11, 5 if self.tdx else None)],
        }
        if self.tdx:
            levels = [level({"isvsvn": 6}), level({"isvsvn": 2}, "OutOfDate", "INTEL-SA-00003")]
            item |= {
                "tdxModule": dict(MODULE),
                "tdxModuleIdentities": [{"id": "TDX_01", **MODULE, "tcbLevels": levels}],
            }
        self.tcb_info(item)
        return json.dumps(item, separators=(",", ":")).encode()

    def identity_json(self) -> bytes:
        item: dict[str, Any] = {
            "id": "TD_QE" if self.tdx else "QE",
            "version": 2,
            "issueDate": iso(NOW - 9 * DAY),
            "nextUpdate": iso(NOW + 21 * DAY),
            "tcbEvaluationDataNumber": 20,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11000000000000000000000000000000",
            "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": SIGNER.hex().upper(),
            "isvprodid": 2 if self.tdx else 1,
            "tcbLevels": [level({"isvsvn": 6}), level({"isvsvn": 2}, "OutOfDate", "INTEL-SA-00002")],
        }
        self.identity(item)
        return json.dumps(item, separators=(",", ":")).encode()

    def list(self, name: str) -> bytes:
        times = self.lists.get(name, (NOW - 8 * DAY, NOW + 22 * DAY))
        return crl(name, self.revoked.get(name, ()), times, self.list_signers.get(name, ""))

    def evidence(self) -> Evidence:
        info, identity = self.tcb_info_json(), self.identity_json()
        parts = {
            "tcb_info": info,
            "tcb_info_signature": sign(self.signers.get("tcb_info", "tcb"), info),
            "tcb_info_chain": self.chain("tcb_info", "tcb", "root"),
            "qe_identity": identity,
            "qe_identity_signature": sign(self.signers.get("qe_identity", "tcb"), identity),
            "qe_identity_chain": self.chain("qe_identity", "tcb", "root"),
            "pck_crl": self.list("ca"),
            "pck_crl_chain": self.chain("pck_crl", "ca", "root"),
            "root_crl": self.list("root"),
        }
        collateral = DcapCollateral(**{**parts, **self.collateral})
        return Evidence(Kind.TDX if self.tdx else Kind.SGX, self.quote(), collateral, self.event_log)


def _put(target: bytearray, changes: Mapping[int, bytes]) -> None:
    for offset, value in changes.items():
        target[offset : offset + len(value)] = value


def root_of(name: str = "root", *, simulated: bool = False) -> Root:
    """A root certificate as pinned."""
    made = Certificates().make(name)
    public = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digests = (hashlib.sha256(data).digest() for data in (made.public_bytes(Encoding.DER), public))
    return Root(Family.INTEL, *digests, simulated=simulated)


ROOT_DER = Certificates().make("root").public_bytes(Encoding.DER)
ANCHORS = TrustAnchors([root_of()])
