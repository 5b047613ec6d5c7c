"""What Intel certifies about a platform: the SGX extension of the PCK certificate.

Source: Intel, "SGX PCK Certificate and Certificate Revocation List Profile Specification", section 1.3.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509

from vml.tee.reasons import Reason, rejected
from vml.tee.x509 import PARSE_ERRORS, Certificate, der_element

SGX_EXTENSION = "1.2.840.113741.1.13.1"
COMPONENTS = 16

_PREFIX = bytes.fromhex("2a864886f84d010d01")  # the DER of SGX_EXTENSION
_PPID, _TCB, _PCE_ID, _FMSPC = b"\x01", b"\x02", b"\x03", b"\x04"
_SEQUENCE, _INTEGER, _OCTETS, _OID = 0x30, 0x02, 0x04, 0x06


@dataclass(frozen=True, slots=True)
class PckPlatform:
    """Platform id (16 bytes), security versions (16), version of the PCE, its id (2) and the family (6)."""

    ppid: bytes
    sgx_svns: tuple[int, ...]
    pce_svn: int
    pce_id: bytes
    fmspc: bytes


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, start, end = der_element(data, at)
        yield tag, data[start:end]
        at = end


def _fields(data: bytes) -> dict[bytes, tuple[int, bytes]]:
    """A sequence of pairs (identifier, value) by the end of the identifier behind SGX_EXTENSION."""
    found: dict[bytes, tuple[int, bytes]] = {}
    for tag, inside in _elements(data):
        pair = list(_elements(inside))
        if tag != _SEQUENCE or len(pair) != 2 or pair[0][0] != _OID or not pair[0][1].startswith(_PREFIX):
            raise ValueError("not a list of Intel's fields")
        name = pair[0][1][len(_PREFIX) :]
        if name in found:
            raise ValueError("a field that stands twice")
        found[name] = pair[1]
    return found


def _octets(fields: dict[bytes, tuple[int, bytes]], name: bytes, size: int) -> bytes:
    tag, value = fields[name]
    if tag != _OCTETS or len(value) != size:
        raise ValueError("a field of another type or length")
    return value


def _svn(fields: dict[bytes, tuple[int, bytes]], index: int, bound: int) -> int:
    tag, value = fields[_TCB + bytes([index])]
    number = int.from_bytes(value, "big", signed=True)
    if tag != _INTEGER or not value or not 0 <= number <= bound:
        raise ValueError("a security version that is no such number")
    return number


def read_platform(certificate: Certificate) -> PckPlatform:
    """The platform a PCK certificate is about.

    Raises:
        EvidenceRejected: PCK_CHAIN where the certificate has no such extension or one that cannot be read.
    """
    try:
        oid = x509.ObjectIdentifier(SGX_EXTENSION)
        extension = certificate.extensions.get_extension_for_oid(oid).value
        if not isinstance(extension, x509.UnrecognizedExtension):
            raise ValueError("an extension of another type")
        ((tag, inside),) = _elements(extension.value)
        fields = _fields(inside)
        kind, tcb = fields[_TCB]
        if tag != _SEQUENCE or kind != _SEQUENCE:
            raise ValueError("not a sequence")
        versions = _fields(tcb)
        return PckPlatform(
            ppid=_octets(fields, _PPID, 16),
            sgx_svns=tuple(_svn(versions, index + 1, 0xFF) for index in range(COMPONENTS)),
            pce_svn=_svn(versions, COMPONENTS + 1, 0xFFFF),
            pce_id=_octets(fields, _PCE_ID, 2),
            fmspc=_octets(fields, _FMSPC, 6),
        )
    except (*PARSE_ERRORS, x509.ExtensionNotFound) as error:
        raise rejected(Reason.PCK_CHAIN, f"the certificate describes no platform: {error}") from error
