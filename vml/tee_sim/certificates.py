"""Certificates and revocation lists that say they are simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from vml.tee.anchors import SIMULATOR_NAME, SIMULATOR_OID
from vml.tee.x509 import der_element
from vml.tee_sim.keys import ec_key, rsa_key, rsa_public_key, serial, sign_pss

DAY = 86_400
FIRST, LAST = 1_577_836_800, 2_524_607_999
"""2020-01-01 to the end of 2049: when a simulator's certificates are valid, unless they live shorter."""
NUMBER = 7
"""Of every revocation list."""
DER_NULL = b"\x05\x00"
PSS = padding.PSS(padding.MGF1(SHA384()), SHA384.digest_size)


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs: a name, and a key on a curve or, for AMD's, one of the RSA keys of that name."""

    seed: str
    name: str
    curve: type[ec.EllipticCurve] | None

    @property
    def subject(self) -> x509.Name:
        return subject(self.name)

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        return (
            rsa_public_key(self.name) if self.curve is None else ec_key(self.seed, self.name, self.curve).public_key()
        )


@dataclass(frozen=True, slots=True)
class Certificate:
    """What one certificate says.

    Args:
        holder: whose it is.
        issuer: who signs it.
        valid: first and last second.
        authority: how many authorities may stand below; None where it may sign no certificates.
        extensions: further ones, dotted name and DER.
        zero_serial: the serial number is 0, as AMD's are for keys of chips.
    """

    holder: Authority
    issuer: Authority
    valid: tuple[int, int] = (FIRST, LAST)
    authority: int | None = None
    extensions: Sequence[tuple[str, bytes]] = field(default=())
    zero_serial: bool = False

    def der(self) -> bytes:
        signs = self.authority is not None
        number = 1 if self.zero_serial else serial(self.holder.seed, self.holder.name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.holder.subject)
            .issuer_name(self.issuer.subject)
            .public_key(self.holder.public_key)
            .serial_number(number)
            .not_valid_before(moment(self.valid[0]))
            .not_valid_after(moment(self.valid[1]))
            .add_extension(x509.BasicConstraints(signs, self.authority), critical=True)
            .add_extension(_usage(signs), critical=True)
        )
        for oid, value in ((SIMULATOR_OID, DER_NULL), *self.extensions):
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
            builder = builder.add_extension(unknown, critical=False)
        if self.issuer.curve is not None:
            key = ec_key(self.issuer.seed, self.issuer.name, self.issuer.curve)
            return builder.sign(key, _hash(self.issuer.curve), ecdsa_deterministic=True).public_bytes(Encoding.DER)
        made = builder.sign(_any_rsa_key(self.issuer.name), SHA384(), rsa_padding=PSS)
        signed = made.tbs_certificate_bytes
        if self.zero_serial:
            signed = _with_serial_zero(signed)
        return resigned(made.public_bytes(Encoding.DER), signed, self.issuer.name)


def subject(name: str) -> x509.Name:
    """The name of a holder: no real one contains what this does."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"{SIMULATOR_NAME}: {name}"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "vml simulator"),
        ]
    )


def revocation_list(issuer: Authority, valid: tuple[int, int], revoked: Sequence[int] = ()) -> bytes:
    """A list, in DER.

    Args:
        issuer: who signs it.
        valid: this update and the next one.
        revoked: serial numbers.
    """
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    builder = builder.last_update(moment(valid[0])).next_update(moment(valid[1]))
    builder = builder.add_extension(x509.CRLNumber(NUMBER), critical=False)
    for number in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(moment(valid[0])).build()
        builder = builder.add_revoked_certificate(entry)
    if issuer.curve is not None:
        key = ec_key(issuer.seed, issuer.name, issuer.curve)
        return builder.sign(key, _hash(issuer.curve), ecdsa_deterministic=True).public_bytes(Encoding.DER)
    made = builder.sign(_any_rsa_key(issuer.name), SHA384(), rsa_padding=PSS)
    return resigned(made.public_bytes(Encoding.DER), made.tbs_certlist_bytes, issuer.name)


def pem(*certificates: bytes) -> bytes:
    """A chain as text."""
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in certificates)


def moment(unix: int) -> datetime:
    return datetime.fromtimestamp(unix, UTC)


def sequence(*parts: bytes, tag: int = 0x30) -> bytes:
    """A DER element around its parts."""
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    width = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | width]) + size.to_bytes(width, "big") + body


def integer(value: int) -> bytes:
    """A DER integer, not negative."""
    return sequence(value.to_bytes(value.bit_length() // 8 + 1, "big"), tag=0x02)


def resigned(der: bytes, signed: bytes, name: str) -> bytes:
    """A signed structure of X.509 around `signed`, with the RSA key's derived signature in place of a random one."""
    _, inside, _ = der_element(der, 0)
    _, _, algorithm = der_element(der, inside)
    _, _, end = der_element(der, algorithm)
    return sequence(signed, der[algorithm:end], sequence(b"\x00", sign_pss(name, signed), tag=0x03))


def _with_serial_zero(signed: bytes) -> bytes:
    _, start, _ = der_element(signed, 0)
    _, _, at = der_element(signed, start)
    assert signed[at : at + 3] == integer(1)
    return signed[: at + 2] + b"\x00" + signed[at + 3 :]


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=not signs,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _hash(curve: type[ec.EllipticCurve]) -> SHA256 | SHA384:
    return SHA384() if curve is ec.SECP384R1 else SHA256()


def _any_rsa_key(name: str) -> rsa.RSAPrivateKey:
    """The key in the form that certificates are built with."""
    key = rsa_key(name)
    numbers = rsa.RSAPrivateNumbers(
        key.p,
        key.q,
        key.d,
        key.d % (key.p - 1),
        key.d % (key.q - 1),
        pow(key.q, -1, key.p),
        rsa.RSAPublicNumbers(key.e, key.n),
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)
