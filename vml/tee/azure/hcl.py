"""The report of Azure's paravisor (HCL), read strictly: a hardware report and the runtime data it names.

::

    header     32  "HCLA", version, size, request type 2, status, three reserved words
    hardware 1184  SNP report, or TD report of 1024 bytes and zeros
    request    20  size, version 1, report type (2 SNP, 4 TDX), hash type (1 SHA-256), size of what follows
    runtime     n  a JSON object: keys of the virtual TPM, configuration of the VM, the guest's 64 bytes
    zeros

The hardware report's first 32 bytes of report data are the hash of the runtime data, so these decide which TPM key
speaks for the machine. Integers are little endian.

Source: Microsoft, "Azure Confidential VM Guest Attestation", "HCL report" and "runtime claims".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from vml.tee.azure.texts import from_base64url, from_hex, read_object
from vml.tee.reasons import Reason, malformed, rejected

MAX_HCL = 1 << 14
HEADER = 32
HARDWARE = 1184
REQUEST = 20
RUNTIME = HEADER + HARDWARE + REQUEST
SNP_REPORT, TDX_REPORT = 2, 4
SHA256_HASH = 1
USER_DATA = 64
KEY_BITS = 2048
EXPONENT = 65537
KEY_NAME = "HCLAkPub"


@dataclass(frozen=True, slots=True)
class HclReport:
    """A report of type `SNP_REPORT`, `TDX_REPORT` or another: the hardware's 1184 bytes and the runtime data."""

    report_type: int
    hardware: bytes
    runtime: bytes


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the runtime data says: the TPM's key for quotes, the VM's configuration, the guest's 64 bytes or None."""

    key: rsa.RSAPublicKey
    vm_configuration: Mapping[str, object]
    user_data: bytes | None


def read_hcl(data: bytes) -> HclReport:
    """Read a report.

    Raises:
        MalformedProof: anything that is not exactly one report and zeros behind it.
    """
    # step 1: the header is a report's.
    if not RUNTIME <= len(data) <= MAX_HCL:
        raise malformed("HCL report", f"{len(data)} bytes")
    size = _word(data, RUNTIME - 4)
    end = RUNTIME + size
    if data[:4] != b"HCLA" or _word(data, 4) not in (1, 2) or _word(data, 12) != 2 or any(data[16:HEADER]):
        raise malformed("HCL report", "another header")
    # step 2: the lengths fit each other, and only zeros follow.
    if _word(data, 8) != end or _word(data, HEADER + HARDWARE) != REQUEST + size:
        raise malformed("HCL report", "lengths that do not fit")
    if end > len(data) or any(data[end:]):
        raise malformed("HCL report", "cut off, or something other than zeros follows")
    # step 3: the request is of the one version, and its hash is SHA-256.
    version, report_type, hash_type = (_word(data, HEADER + HARDWARE + at) for at in (4, 8, 12))
    if version != 1 or hash_type != SHA256_HASH:
        raise malformed("HCL report", f"request of version {version}, hash {hash_type}")
    return HclReport(report_type, data[HEADER : HEADER + HARDWARE], data[RUNTIME:end])


def read_runtime(data: bytes) -> Runtime:
    """Read the runtime data.

    Raises:
        MalformedProof: another JSON object.
        EvidenceRejected: TPM_KEY_MISMATCH where it names no key that can sign quotes.
    """
    item = read_object(data, "runtime data")
    configuration, user_data = item.get("vm-configuration", {}), item.get("user-data")
    # step 1: configuration and user data are of their types.
    if not isinstance(configuration, dict):
        raise malformed("runtime data", "vm-configuration")
    guest = None if user_data is None else from_hex(user_data, "runtime data")
    if guest is not None and len(guest) != USER_DATA:
        raise malformed("runtime data", f"user-data of {len(guest)} bytes")
    # step 2: it names exactly one key for quotes, and that can only sign.
    keys = item.get("keys")
    listed = keys if isinstance(keys, list) else []
    named = [key for key in listed if isinstance(key, dict) and key.get("kid") == KEY_NAME]
    if len(named) != 1 or named[0].get("kty") != "RSA" or named[0].get("key_ops") != ["sign"]:
        raise rejected(Reason.TPM_KEY_MISMATCH, f"not one signing key of the name {KEY_NAME}")
    modulus, exponent = _number(named[0].get("n")), _number(named[0].get("e"))
    if modulus.bit_length() != KEY_BITS or exponent != EXPONENT:
        raise rejected(Reason.TPM_KEY_MISMATCH, f"a key of {modulus.bit_length()} bits")
    return Runtime(rsa.RSAPublicNumbers(exponent, modulus).public_key(), configuration, guest)


def _number(value: object) -> int:
    """A number in base64url without padding."""
    text = value if isinstance(value, str) else ""
    return int.from_bytes(from_base64url(text + "=" * (-len(text) % 4), "runtime data"), "big")


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
