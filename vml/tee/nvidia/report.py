"""Measurement reports of NVIDIA GPUs (H100), read strictly.

A report is one exchange of SPDM 1.1, request and answer, as the GPU signed it::

    request     37  0x11 0xe0, signature wanted (1), all measurements (0xff), the verifier's nonce (32), slot
    answer       8  0x11 0x60, 0, slot, number of blocks (1), length of the record (3)
    record       n  blocks: index (1), DMTF (1), size (2), type (1), size (2), a SHA-384 value (48)
    nonce       32  the GPU's own
    opaque       2 + n  NVIDIA's fields: type (2), size (2), data
    signature   96  r and s (big endian), over all that stands before it

Integers are little endian, lengths have to fit exactly, nothing follows. The signature can be rewritten by anybody (s
and n - s are both good), so a report is recognised by `GpuReport.evidence_id`, which leaves it out.

Source: DMTF DSP0274 1.1, GET_MEASUREMENTS and MEASUREMENTS; field numbers as in NVIDIA's nvtrust.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from vml.tee.reasons import malformed

MAX_REPORT = 1 << 16
REQUEST = 37
HEADER = 8
NONCE = 32
SIGNATURE = 96
DIGEST = 48
BLOCK = 4 + 3 + DIGEST
ID_TAG = b"vml/evidence/nvidia/v1"

_REQUEST_HEAD = bytes.fromhex("11e001ff")
_ANSWER_HEAD = bytes.fromhex("116000")
_DMTF = 1
_VALUE_TYPES = range(4)
"""Digests of immutable ROM, mutable firmware, hardware configuration and firmware configuration."""

FIELDS = {
    1: "CERT_ISSUER_NAME",
    2: "CERT_AUTHORITY_KEY_IDENTIFIER",
    3: "DRIVER_VERSION",
    4: "GPU_INFO",
    5: "SKU",
    6: "VBIOS_VERSION",
    7: "MANUFACTURER_ID",
    8: "TAMPER_DETECTION",
    9: "SMC",
    10: "VPR",
    11: "NVDEC0_STATUS",
    12: "MSRSCNT",
    13: "CPRINFO",
    14: "BOARD_ID",
    15: "CHIP_SKU",
    16: "CHIP_SKU_MOD",
    17: "PROJECT",
    18: "PROJECT_SKU",
    19: "PROJECT_SKU_MOD",
    20: "FWID",
    21: "PROTECTED_PCIE_STATUS",
}
"""NVIDIA's names of opaque fields; a field of another number is called ``FIELD_n``."""


@dataclass(frozen=True, slots=True)
class GpuReport:
    """A report in its parts.

    Attributes:
        signed: request and answer up to the signature.
        nonce: 32 bytes, the verifier's.
        device_nonce: 32 bytes, the GPU's.
        blocks: SHA-384 values by index, from 1.
        opaque: NVIDIA's fields by name.
        signature: 96 bytes, r and s.
        driver_version: as written, for example "550.90.07".
        vbios_version: as NVIDIA writes it, for example "96.00.9F.00.01".
        fwid: 48 bytes, what the device's key was made for; None in older reports.
    """

    signed: bytes
    nonce: bytes
    device_nonce: bytes
    blocks: Mapping[int, bytes]
    opaque: Mapping[str, bytes]
    signature: bytes
    driver_version: str
    vbios_version: str
    fwid: bytes | None

    @property
    def evidence_id(self) -> bytes:
        """SHA-256 of all that was signed."""
        return hashlib.sha256(ID_TAG + self.signed).digest()


def read_report(data: bytes) -> GpuReport:
    """Read request and answer.

    Raises:
        MalformedProof: anything but one exchange with all its parts.
    """
    if not REQUEST + HEADER + NONCE + 2 + SIGNATURE <= len(data) <= MAX_REPORT:
        raise malformed("GPU report", f"{len(data)} bytes")
    slot, answer = data[REQUEST - 1], data[REQUEST : REQUEST + HEADER]
    if data[:4] != _REQUEST_HEAD or slot > 7:
        raise malformed("GPU report", "no request for all measurements with a signature")
    if answer[:3] != _ANSWER_HEAD or answer[3] != slot:
        raise malformed("GPU report", "no answer to this request")
    at = REQUEST + HEADER
    record = int.from_bytes(answer[5:8], "little")
    if record != answer[4] * BLOCK or at + record + NONCE + 2 + SIGNATURE > len(data):
        raise malformed("GPU report", f"{answer[4]} blocks in {record} bytes")
    blocks = _blocks(data[at : at + record])
    at += record
    device_nonce = data[at : at + NONCE]
    at += NONCE
    length = int.from_bytes(data[at : at + 2], "little")
    at += 2
    if at + length + SIGNATURE != len(data):
        raise malformed("GPU report", "its length is another than it says")
    opaque = _opaque(data[at : at + length])
    fwid = opaque.get("FWID")
    if fwid is not None and len(fwid) != DIGEST:
        raise malformed("GPU report", "a firmware id is a SHA-384 digest")
    return GpuReport(
        signed=data[: at + length],
        nonce=data[4 : 4 + NONCE],
        device_nonce=device_nonce,
        blocks=blocks,
        opaque=opaque,
        signature=data[at + length :],
        driver_version=_driver(opaque.get("DRIVER_VERSION", b"")),
        vbios_version=_vbios(opaque.get("VBIOS_VERSION", b"")),
        fwid=fwid,
    )


def _blocks(record: bytes) -> dict[int, bytes]:
    blocks: dict[int, bytes] = {}
    for at in range(0, len(record), BLOCK):
        block = record[at : at + BLOCK]
        sizes = int.from_bytes(block[2:4], "little"), int.from_bytes(block[5:7], "little")
        if block[1] != _DMTF or sizes != (3 + DIGEST, DIGEST) or block[4] not in _VALUE_TYPES:
            raise malformed("GPU report", f"block {block[0]} is no SHA-384 measurement")
        if not 1 <= block[0] <= 0xFE or block[0] in blocks:
            raise malformed("GPU report", f"block {block[0]} comes twice or has no such number")
        blocks[block[0]] = block[7:]
    return blocks


def _opaque(data: bytes) -> dict[str, bytes]:
    fields: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        number, size = (int.from_bytes(data[i : i + 2], "little") for i in (at, at + 2))
        end = at + 4 + size
        name = FIELDS.get(number, f"FIELD_{number}")
        if at + 4 > len(data) or end > len(data) or name in fields:
            raise malformed("GPU report", f"opaque field {number} does not fit or comes twice")
        fields[name] = data[at + 4 : end]
        at = end
    return fields


def _driver(field: bytes) -> str:
    """A text that ends in one or more zeros."""
    text = field.rstrip(b"\x00")
    if not text or len(text) > 32 or not all(0x21 <= byte <= 0x7E for byte in text):
        raise malformed("GPU report", "no driver version")
    return text.decode("ascii")


def _vbios(field: bytes) -> str:
    """Four bytes, the last first, and the number of the build: 00 9f 00 96 01 is 96.00.9F.00.01."""
    if len(field) != 8:
        raise malformed("GPU report", "no VBIOS version")
    return ".".join(f"{byte:02X}" for byte in (*reversed(field[:4]), field[4]))
