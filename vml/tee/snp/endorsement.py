"""What AMD certifies about a chip or a provider: the extensions of the VCEK or VLEK certificate.

A VCEK belongs to one chip at one TCB, a VLEK to one cloud provider at one TCB: the first names a chip (hwID), the
second a provider (cspID), and exactly one of the two stands in a certificate.

Source: AMD, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification" (57230), revision 1.00,
sections 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from vml.tee.reasons import Reason, rejected
from vml.tee.verified import SnpTcb
from vml.tee.x509 import PARSE_ERRORS, Certificate, der_element

MILAN, GENOA, TURIN = "Milan", "Genoa", "Turin"
CHIP_ID = {MILAN: 64, GENOA: 64, TURIN: 8}
"""Products, and the bytes of their chip ids."""

_ARC = "1.3.6.1.4.1.3704.1."
_PRODUCT, _CHIP, _PROVIDER = _ARC + "2", _ARC + "4", _ARC + "5"
_INTEGER, _IA5 = 0x02, 0x16

# The number behind 1.3.6.1.4.1.3704.1.3 of each byte of a TCB; 0 is a reserved byte.
# 1 boot loader, 2 TEE, 3 SNP, 4 to 7 not used so far, 8 microcode, 9 FMC.
_PARTS = {MILAN: (1, 2, 4, 5, 6, 7, 3, 8), GENOA: (1, 2, 4, 5, 6, 7, 3, 8), TURIN: (9, 1, 2, 3, 0, 0, 0, 8)}
_UNUSED = (4, 5, 6, 7)


@dataclass(frozen=True, slots=True)
class Endorsement:
    """What a key is certified for.

    Attributes:
        signing_key: "VCEK" or "VLEK".
        product: "Milan", "Genoa" or "Turin".
        tcb: 8 bytes in the order of the product's reports.
        chip_id: of a VCEK, 64 bytes, or 8 on Turin; None for a VLEK.
    """

    signing_key: str
    product: str
    tcb: bytes
    chip_id: bytes | None


def tcb_of(product: str, raw: bytes) -> SnpTcb:
    """The parts of a TCB of 8 bytes."""
    byte = dict(zip(_PARTS[product], raw, strict=True))
    return SnpTcb(boot_loader=byte[1], tee=byte[2], snp=byte[3], microcode=byte[8], fmc=byte.get(9))


def product_of(processor: tuple[int, int, int]) -> str | None:
    """The product with this family, model and stepping; None for others."""
    family, model, _ = processor
    if family == 0x19:
        return MILAN if model < 0x10 else GENOA if model < 0x20 or 0xA0 <= model < 0xB0 else None
    return TURIN if family == 0x1A and model < 0x20 else None


def read_endorsement(certificate: Certificate) -> Endorsement:
    """What the certificate says of its key.

    Raises:
        EvidenceRejected: VEK_CHAIN where that cannot be read.
    """
    try:
        found = {
            extension.oid.dotted_string: extension.value.value
            for extension in certificate.extensions
            if isinstance(extension.value, x509.UnrecognizedExtension)
        }
        name = _content(found[_PRODUCT], _IA5).decode("ascii")
        product = name.partition("-")[0]
        chip_id = found.get(_CHIP)
        if (chip_id is None) != (_PROVIDER in found):
            raise ValueError("not one of chip and provider")
        if chip_id is not None and len(chip_id) != CHIP_ID[product]:
            raise ValueError(f"a chip id of {len(chip_id)} bytes")
        numbers = {part: _number(found[f"{_ARC}3.{part}"]) for part in _PARTS[product] if part}
        unused = [_number(found[oid]) for part in _UNUSED if (oid := f"{_ARC}3.{part}") in found]
        if product == TURIN and any(unused):
            raise ValueError("a part of the TCB that Turin does not have")
    except PARSE_ERRORS as error:
        raise rejected(Reason.VEK_CHAIN, f"the certificate endorses no key for reports: {error}") from error
    tcb = bytes(numbers.get(part, 0) for part in _PARTS[product])
    return Endorsement("VCEK" if chip_id is not None else "VLEK", product, tcb, chip_id)


def _content(der: bytes, tag: int) -> bytes:
    """The content of the one DER element that `der` is."""
    found, start, end = der_element(der, 0)
    if found != tag or end != len(der) or start == end:
        raise ValueError("an extension of another type")
    return der[start:end]


def _number(der: bytes) -> int:
    number = int.from_bytes(_content(der, _INTEGER), "big", signed=True)
    if not 0 <= number <= 0xFF:
        raise ValueError("a security version that is no byte")
    return number
