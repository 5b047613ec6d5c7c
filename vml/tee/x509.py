"""Certificate chains and revocation lists, checked strictly at a given time.

``cryptography`` reads and verifies; which checks are made, and at what time, is decided here. Certificates of AMD's
chips have serial number 0, which the library warns about: the warning is silenced for those alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID

from vml.tee.anchors import SIMULATOR_NAME, SIMULATOR_OID, Family, Root, TrustAnchors
from vml.tee.reasons import Reason, malformed, rejected

Certificate = x509.Certificate
Crl = x509.CertificateRevocationList

MAX_CERTIFICATE = 1 << 14
MAX_CHAIN = 8
MAX_CRL = 1 << 22
UNDERSTOOD = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE})
"""Critical extensions that this file checks; a chain with others is refused unless the caller checks them."""

_PEM = re.compile(
    rb"-----BEGIN CERTIFICATE-----(\r?\n)((?:[0-9A-Za-z+/]{64}\1)*[0-9A-Za-z+/=]{1,64})\1-----END CERTIFICATE-----"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_warning_lock = threading.Lock()

# What cryptography raises for hostile certificates: bad DER, unknown versions, unknown or odd algorithms and names.
PARSE_ERRORS = (
    *(ValueError, TypeError, KeyError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)


def unix(moment: datetime) -> int:
    """Whole unix seconds of an aware time, rounded down."""
    return (moment - _EPOCH) // timedelta(seconds=1)


def der_element(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start and end of the DER element's content at `at`; ValueError where it does not fit.

    Tags of one byte and definite lengths of at most four bytes, which covers every certificate.
    """
    try:
        tag, length, start = data[at], data[at + 1], at + 2
    except IndexError as error:
        raise ValueError("DER element cut off") from error
    if length >= 0x80:
        width = length - 0x80
        if not 1 <= width <= 4 or start + width > len(data):
            raise ValueError("DER length not understood")
        length, start = int.from_bytes(data[start : start + width], "big"), start + width
    if start + length > len(data):
        raise ValueError("DER element cut off")
    return tag, start, start + length


def der_serial(der: bytes) -> int:
    """The serial number of a certificate, which may be 0 or negative. ValueError for anything else."""
    _, inside, _ = der_element(der, 0)
    _, at, _ = der_element(der, inside)
    tag, start, end = der_element(der, at)
    if tag == 0xA0:
        tag, start, end = der_element(der, end)
    if tag != 0x02 or start == end:
        raise ValueError("a certificate without a serial number")
    return int.from_bytes(der[start:end], "big", signed=True)


def load_certificate(der: bytes, what: str = "certificate") -> Certificate:
    """One DER certificate, nothing behind it.

    Raises:
        MalformedProof: anything else.
    """
    if len(der) > MAX_CERTIFICATE:
        raise malformed(what, f"{len(der)} bytes, at most {MAX_CERTIFICATE}")
    try:
        if der_serial(der) > 0:
            return x509.load_der_x509_certificate(der)
        with _warning_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return x509.load_der_x509_certificate(der)
    except PARSE_ERRORS as error:
        raise malformed(what, str(error)) from error


def pem_blocks(pem: bytes, what: str = "certificate chain") -> tuple[bytes, ...]:
    """The DER of every certificate of a PEM text, in order, in RFC 7468's strict form: lines of 64 characters.

    Vendors differ in four things, and in nothing else: line ends are those of Unix or of Windows, the same everywhere;
    an empty line may follow a certificate; the last line need not end; one zero may end the text.

    Raises:
        MalformedProof: another text, or more than `MAX_CHAIN` certificates.
    """
    found: list[bytes] = []
    text, at, line_end = pem.removesuffix(b"\x00"), 0, b""
    while at < len(text):
        block = _PEM.match(text, at)
        if block is None or len(found) == MAX_CHAIN:
            raise malformed(what, "not a short list of PEM certificates, each in lines of 64 characters")
        line_end = line_end or block[1]
        found.append(_unbase64(block[2].replace(block[1], b""), what))
        at = block.end()
        # One line end, or two; the last line need not have one.
        after = next((gap for gap in (2 * line_end, line_end) if text.startswith(gap, at)), b"")
        if block[1] != line_end or (not after and at < len(text)):
            raise malformed(what, "other line ends than those of the first line, or something behind a certificate")
        at += len(after)
    return tuple(found)


def _unbase64(text: bytes, what: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise malformed(what, "not base64") from error
    if base64.b64encode(found) != text:
        raise malformed(what, "base64 with bits that say nothing")
    return found


def load_chain(pem: bytes, what: str = "certificate chain") -> tuple[Certificate, ...]:
    """Every certificate of a PEM text, in order. MalformedProof as `pem_blocks` and `load_certificate`."""
    return tuple(load_certificate(der, what) for der in pem_blocks(pem, what))


def der_of(certificate: Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def public_key_of(certificate: Certificate) -> bytes:
    """DER of the SubjectPublicKeyInfo."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def same_authority(one: Certificate, other: Certificate) -> bool:
    """Whether two certificates are of one name and one key, as when an authority was certified a second time."""
    try:
        return one.subject == other.subject and public_key_of(one) == public_key_of(other)
    except PARSE_ERRORS:
        return False


def is_simulated(certificate: Certificate) -> bool:
    """Whether a certificate carries a simulator's marker: the extension or the name."""
    names = [attribute.value for name in (certificate.subject, certificate.issuer) for attribute in name]
    if any(isinstance(value, str) and SIMULATOR_NAME in value for value in names):
        return True
    return any(extension.oid.dotted_string == SIMULATOR_OID for extension in certificate.extensions)


def simulator_root(family: Family, certificate: bytes) -> Root:
    """A simulator's root for `TrustAnchors.with_simulator`.

    Raises:
        ValueError: the certificate (DER) carries no simulator's marker, so it could be mistaken for a real one.
    """
    loaded = load_certificate(certificate, "simulator root")
    marker = any(extension.oid.dotted_string == SIMULATOR_OID for extension in loaded.extensions)
    if not marker or SIMULATOR_NAME not in loaded.subject.rfc4514_string():
        raise ValueError(f"a simulator's root needs the extension {SIMULATOR_OID} and a subject that says so")
    key = hashlib.sha256(public_key_of(loaded)).digest()
    return Root(family, hashlib.sha256(certificate).digest(), key, simulated=True)


Links = set[tuple[bytes, bytes]]
"""Certificates and their issuers, in DER, of which one verification found the first to be signed by the second."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that holds together and ends in a pinned root. `certificates`: leaf first, root last."""

    certificates: tuple[Certificate, ...]
    root: Root

    @property
    def leaf(self) -> Certificate:
        return self.certificates[0]

    @property
    def not_before(self) -> int:
        return max(unix(certificate.not_valid_before_utc) for certificate in self.certificates)

    @property
    def not_after(self) -> int:
        return min(unix(certificate.not_valid_after_utc) for certificate in self.certificates)


def check_chain(
    certificates: Sequence[Certificate],
    anchors: TrustAnchors,
    families: Iterable[Family],
    failure: Reason,
    *,
    critical: Iterable[str] = (),
    leaf_may_sign_certificates: bool = False,
    links: Links | None = None,
) -> Chain:
    """Check that each certificate is signed by the next and the last is a pinned root. Times are `check_times`.

    A pinned root is known by its digest, so its signature of itself is not looked at.

    Args:
        certificates: leaf first, root last; at least two.
        families: roots that may end this chain.
        failure: the code for a chain that does not hold together.
        critical: further critical extensions (dotted) that the caller checks.
        leaf_may_sign_certificates: a leaf with CA rights is refused unless this is set.
        links: what the same verification found in other chains, which is not computed again; new ones are added.

    Raises:
        EvidenceRejected: `failure`, UNTRUSTED_ROOT or SIMULATED_EVIDENCE.
    """
    if not 2 <= len(certificates) <= MAX_CHAIN:
        raise rejected(failure, f"{len(certificates)} certificates")
    try:
        top = certificates[-1]
        root = anchors.find(families, der_of(top), public_key_of(top))
        _check_signatures(
            certificates if root is None else certificates[:-1], top, failure, set() if links is None else links
        )
        _check_rights(certificates, failure, UNDERSTOOD | {x509.ObjectIdentifier(oid) for oid in critical})
        if not leaf_may_sign_certificates and _authority(certificates[0]) is not None:
            raise rejected(failure, "the leaf may sign certificates")
        if root is None:
            if any(is_simulated(certificate) for certificate in certificates):
                raise rejected(Reason.SIMULATED_EVIDENCE, f"root {top.subject.rfc4514_string()}")
            raise rejected(Reason.UNTRUSTED_ROOT, top.subject.rfc4514_string())
    except PARSE_ERRORS as error:
        raise rejected(failure, str(error)) from error
    return Chain(tuple(certificates), root)


def _authority(certificate: Certificate) -> x509.BasicConstraints | None:
    """The basic constraints of a certificate that may sign others; None for all others."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None
    return constraints if constraints.ca else None


def _check_signatures(certificates: Sequence[Certificate], top: Certificate, failure: Reason, links: Links) -> None:
    """Each is signed by the next, the last by `top`."""
    for certificate, issuer in zip(certificates, (*certificates[1:], top), strict=True):
        link = der_of(certificate), der_of(issuer)
        if link in links:
            continue
        try:
            certificate.verify_directly_issued_by(issuer)
        except InvalidSignature as error:
            names = f"{certificate.subject.rfc4514_string()} is not signed by {issuer.subject.rfc4514_string()}"
            raise rejected(failure, names) from error
        links.add(link)


def _check_rights(
    certificates: Sequence[Certificate], failure: Reason, understood: Iterable[x509.ObjectIdentifier]
) -> None:
    """No critical extension is one that nobody checks; all but the leaf may sign those below them."""
    known = set(understood)
    for depth, certificate in enumerate(certificates):
        for extension in certificate.extensions:
            if extension.critical and extension.oid not in known:
                raise rejected(failure, f"critical extension {extension.oid.dotted_string}")
        if depth == 0:
            continue
        rights = _authority(certificate)
        if rights is None or (rights.path_length is not None and rights.path_length < depth - 1):
            raise rejected(failure, f"{certificate.subject.rfc4514_string()} may not sign this chain")
        try:
            usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        except x509.ExtensionNotFound:
            continue
        if not usage.key_cert_sign:
            raise rejected(failure, f"{certificate.subject.rfc4514_string()} may not sign certificates")


def check_times(
    certificates: Iterable[Certificate],
    at: int,
    *,
    expired: Reason = Reason.CERTIFICATE_EXPIRED,
    early: Reason = Reason.CERTIFICATE_NOT_YET_VALID,
) -> None:
    """Every certificate is valid at `at` (unix seconds), first and last second included.

    Raises:
        EvidenceRejected: `expired` or `early`.
    """
    for certificate in certificates:
        first, last = unix(certificate.not_valid_before_utc), unix(certificate.not_valid_after_utc)
        if at > last:
            raise rejected(expired, f"{certificate.subject.rfc4514_string()} ended at unix time {last}")
        if at < first:
            raise rejected(early, f"{certificate.subject.rfc4514_string()} begins at unix time {first}")


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list that its issuer signed. `number` rises with every issue; times in unix seconds."""

    crl: Crl
    number: int
    this_update: int
    next_update: int

    def check_not_revoked(self, certificate: Certificate) -> None:
        """Raise CERTIFICATE_REVOKED where the list names the certificate."""
        try:
            entry = self.crl.get_revoked_certificate_by_serial_number(der_serial(der_of(certificate)))
        except PARSE_ERRORS as error:
            raise rejected(Reason.CRL_INVALID, str(error)) from error
        if entry is not None:
            raise rejected(Reason.CERTIFICATE_REVOKED, certificate.subject.rfc4514_string())

    def check_time(self, at: int, name: str) -> None:
        """Raise COLLATERAL_EXPIRED or COLLATERAL_NOT_YET_VALID where `at` is outside the list's two updates."""
        if at > self.next_update:
            raise rejected(Reason.COLLATERAL_EXPIRED, f"{name} ended at unix time {self.next_update}")
        if at < self.this_update:
            raise rejected(Reason.COLLATERAL_NOT_YET_VALID, f"{name} begins at unix time {self.this_update}")


def load_crl(der: bytes, issuer: Certificate, name: str) -> RevocationList:
    """A DER revocation list (of certificates), signed by `issuer`, with number and both times. Times are not checked.

    Raises:
        EvidenceRejected: CRL_INVALID for everything else, also for no bytes at all.
    """
    if len(der) > MAX_CRL:
        raise rejected(Reason.CRL_INVALID, f"{name}: {len(der)} bytes")
    try:
        crl = x509.load_der_x509_crl(der)
        if crl.issuer != issuer.subject:
            raise rejected(Reason.CRL_INVALID, f"{name} is issued by {crl.issuer.rfc4514_string()}")
        if not _crl_signed(crl, issuer):
            raise rejected(Reason.CRL_INVALID, f"{name} is not signed by {issuer.subject.rfc4514_string()}")
        critical = [extension.oid.dotted_string for extension in crl.extensions if extension.critical]
        if critical:
            raise rejected(Reason.CRL_INVALID, f"{name} has critical extensions {critical}")
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        if crl.next_update_utc is None:
            raise ValueError("it names no next update")
        return RevocationList(crl, number, unix(crl.last_update_utc), unix(crl.next_update_utc))
    except (*PARSE_ERRORS, x509.ExtensionNotFound) as error:
        raise rejected(Reason.CRL_INVALID, f"{name}: {error}") from error


def _crl_signed(crl: Crl, issuer: Certificate) -> bool:
    key, algorithm = issuer.public_key(), crl.signature_hash_algorithm
    if algorithm is None:
        return False
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(crl.signature, crl.tbs_certlist_bytes, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            pss = crl.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSASSA_PSS
            salt = padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH) if pss else padding.PKCS1v15()
            key.verify(crl.signature, crl.tbs_certlist_bytes, salt, algorithm)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def ec_key_of(certificate: Certificate, curve: type[ec.EllipticCurve], failure: Reason) -> ec.EllipticCurvePublicKey:
    """The certificate's public key, which has to be on `curve`; `failure` for another."""
    try:
        key = certificate.public_key()
    except PARSE_ERRORS as error:
        raise rejected(failure, str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, curve):
        raise rejected(failure, f"the key is not on {curve.name}")
    return key
