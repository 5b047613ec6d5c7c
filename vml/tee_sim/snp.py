"""Simulated SEV-SNP reports (version 3, Genoa, VCEK) with their certificates and AMD's list.

The layout is that of `vml.tee.snp.report`, the certificates' extensions those of `vml.tee.snp.endorsement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from vml.tee.evidence import SnpCollateral
from vml.tee.verified import SNP_DEBUG, SnpTcb
from vml.tee_sim.certificates import (
    DAY,
    FIRST,
    LAST,
    Authority,
    Certificate,
    integer,
    pem,
    revocation_list,
    sequence,
)
from vml.tee_sim.faults import Fault
from vml.tee_sim.keys import derived, ec_key, serial, sign

PRODUCT: Final = "Genoa"
PROCESSOR = bytes([0x19, 0x11, 0x01])
CURRENT = SnpTcb(boot_loader=10, tee=0, snp=23, microcode=84)
OLD = SnpTcb(boot_loader=3, tee=0, snp=8, microcode=21)
POLICY = 0x30000
"""SMT allowed, and the bit that is always set."""
PLATFORM_INFO = 0x25
FIRMWARE = bytes([0x1D, 0x37, 1])
SIGNED, REPORT = 0x2A0, 1184
LIST_DAYS = 365
_ARC = "1.3.6.1.4.1.3704.1."


def chip_id(seed: str) -> bytes:
    """The chip's id, 64 bytes."""
    return derived(seed, "chip", 64)


def tcb_bytes(tcb: SnpTcb) -> bytes:
    """A TCB as reports of Milan and Genoa have it."""
    return bytes([tcb.boot_loader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode])


@cache
def authority_certificate(seed: str, name: str) -> bytes:
    """ "ark" or "ask", in DER."""
    root, signer = Authority(seed, "ark", None), Authority(seed, "ask", None)
    return (Certificate(root, root, authority=1) if name == "ark" else Certificate(signer, root, authority=0)).der()


@lru_cache(maxsize=64)
def _vcek(seed: str, tcb: SnpTcb, last: int) -> bytes:
    parts = dict(zip("12456738", tcb_bytes(tcb), strict=True))
    extensions = [(_ARC + "1", integer(1)), (_ARC + "2", sequence(f"{PRODUCT}-B0".encode(), tag=0x16))]
    extensions += [(f"{_ARC}3.{part}", integer(value)) for part, value in sorted(parts.items())]
    extensions += [(_ARC + "4", chip_id(seed))]
    holder, issuer = Authority(seed, "SNP VCEK", ec.SECP384R1), Authority(seed, "ask", None)
    return Certificate(holder, issuer, valid=(FIRST, last), extensions=tuple(extensions), zero_serial=True).der()


@lru_cache(maxsize=64)
def collateral(seed: str, day: int, fault: Fault | None) -> SnpCollateral:
    """The VCEK with the two certificates above and AMD's list, as of a day (unix time of its first second)."""
    ask, ark = authority_certificate(seed, "ask"), authority_certificate(seed, "ark")
    revoked = (serial(seed, "ask"),) if fault == Fault.REVOKED else ()
    valid = day - DAY, day + LIST_DAYS * DAY - 1
    return SnpCollateral(
        vek=_vcek(seed, _tcb(fault), day - 1 if fault == Fault.EXPIRED else LAST),
        chain=pem(ask, ark),
        crl=b"" if fault == Fault.NO_CRL else revocation_list(Authority(seed, "ark", None), valid, revoked),
    )


def report(seed: str, report_data: bytes, measured: Mapping[str, bytes], fault: Fault | None) -> bytes:
    """A report.

    Args:
        seed: whose keys.
        report_data: 64 bytes.
        measured: all measurements.
        fault: what is wrong with it, or None.
    """
    tcb = tcb_bytes(_tcb(fault))
    body = bytearray(SIGNED)
    body[0x00:0x04] = _u32(3)
    body[0x08:0x10] = (POLICY | (SNP_DEBUG if fault == Fault.DEBUG else 0)).to_bytes(8, "little")
    body[0x34:0x38] = _u32(1)
    body[0x38:0x40] = body[0x180:0x188] = body[0x1E0:0x1E8] = body[0x1F0:0x1F8] = tcb
    body[0x40:0x48] = PLATFORM_INFO.to_bytes(8, "little")
    body[0x50:0x90] = report_data
    body[0x90:0x140] = b"".join(
        measured[name] for name in ("measurement", "host_data", "id_key_digest", "author_key_digest")
    )
    body[0x140:0x160], body[0x160:0x180] = derived(seed, "report id", 32), b"\xff" * 32
    body[0x188:0x18B] = PROCESSOR
    body[0x1A0:0x1E0] = chip_id(seed)
    body[0x1E8:0x1EB] = body[0x1EC:0x1EF] = FIRMWARE
    name = "SNP other VCEK" if fault == Fault.BAD_KEY else "SNP VCEK"
    r, s = sign(ec_key(seed, name, ec.SECP384R1), bytes(body))
    signature = r.to_bytes(72, "little") + s.to_bytes(72, "little")
    return (bytes(body) + signature).ljust(REPORT, b"\x00")


def _tcb(fault: Fault | None) -> SnpTcb:
    return OLD if fault == Fault.OUT_OF_DATE else CURRENT


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")
