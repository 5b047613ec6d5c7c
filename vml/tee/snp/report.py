"""Attestation reports of AMD SEV-SNP, read strictly: exactly 1184 bytes, reserved ones zero.

::

    000  version, guest SVN, policy, family id, image id, VMPL, signature algorithm
    038  current TCB, platform info, flags (who signed), reserved
    050  report data (64), measurement (48), host data (32), digests of ID and author key (48 each)
    140  report id, report id of the migration agent, reported TCB
    188  family, model and stepping of the processor (since version 3)
    1A0  chip id (64), committed TCB, firmware versions, launch TCB
    1F8  mitigation vectors at launch and now (since version 5)
    2A0  signature: r and s, 72 bytes each, of everything above; zeros to the end

Integers, r and s included, are little endian. The zeros behind the signature are not signed and the signature has a
twin (n - s), so a report is recognised by `Report.evidence_id`, which covers the signed part alone. Bits of the
platform information are not checked: new firmware tells more with them, and they weaken nothing.

Source: AMD, "SEV Secure Nested Paging Firmware ABI Specification" (56860), revision 1.58, ATTESTATION_REPORT.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from vml.tee.reasons import malformed

REPORT = 1184
SIGNED = 0x2A0
VERSIONS = (2, 3, 4, 5)
ECDSA_P384_SHA384 = 1
HIGHEST_VMPL = 3
POLICY_ONE = 1 << 17
POLICY_KNOWN = (1 << 26) - 1
"""Bits of the guest's policy that have a meaning; bit 17 is always set."""
KEYS = {0: "VCEK", 1: "VLEK"}
ID_TAG = b"vml/evidence/snp/v1"

_ALWAYS_ZERO = ((0x4C, 0x50), (0x18B, 0x1A0), (0x1EB, 0x1EC), (0x1EF, 0x1F0), (0x208, 0x2A0), (0x330, REPORT))
_ZERO_BEFORE = {3: (0x188, 0x18B), 5: (0x1F8, 0x208)}
"""By version: what is reserved until then."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report in its parts; nothing is verified.

    Attributes:
        signed: the bytes the signature covers.
        signature: r and s as integers of up to 576 bits.
        signing_key: "VCEK" or "VLEK": who the report says signed it.
        processor: family, model, stepping; None before version 3.
        reported_tcb: 8 bytes like the other three; their order depends on the product.
        mitigations: vectors at launch and now; None before version 5.
    """

    signed: bytes
    signature: tuple[int, int]
    version: int
    signing_key: str
    policy: int
    vmpl: int
    processor: tuple[int, int, int] | None
    mitigations: tuple[int, int] | None

    @property
    def evidence_id(self) -> bytes:
        """SHA-256 of what the report says, free of its signature."""
        return hashlib.sha256(ID_TAG + self.signed).digest()

    @property
    def guest_svn(self) -> int:
        return _uint(self.signed[0x04:0x08])

    @property
    def family_id(self) -> bytes:
        return self.signed[0x10:0x20]

    @property
    def image_id(self) -> bytes:
        return self.signed[0x20:0x30]

    @property
    def current_tcb(self) -> bytes:
        return self.signed[0x38:0x40]

    @property
    def platform_info(self) -> int:
        return _uint(self.signed[0x40:0x48])

    @property
    def report_data(self) -> bytes:
        return self.signed[0x50:0x90]

    @property
    def measurement(self) -> bytes:
        return self.signed[0x90:0xC0]

    @property
    def host_data(self) -> bytes:
        return self.signed[0xC0:0xE0]

    @property
    def id_key_digest(self) -> bytes:
        return self.signed[0xE0:0x110]

    @property
    def author_key_digest(self) -> bytes:
        return self.signed[0x110:0x140]

    @property
    def report_id(self) -> bytes:
        return self.signed[0x140:0x160]

    @property
    def reported_tcb(self) -> bytes:
        return self.signed[0x180:0x188]

    @property
    def chip_id(self) -> bytes:
        return self.signed[0x1A0:0x1E0]

    @property
    def committed_tcb(self) -> bytes:
        return self.signed[0x1E0:0x1E8]

    @property
    def launch_tcb(self) -> bytes:
        return self.signed[0x1F0:0x1F8]


def _uint(data: bytes) -> int:
    return int.from_bytes(data, "little")


def read_report(data: bytes) -> Report:
    """Read a report of version 2 to 5.

    Raises:
        MalformedProof: anything else, reserved bytes that are not zero included.
    """
    # step 1: the size is a report's.
    if len(data) != REPORT:
        raise malformed("report", f"{len(data)} bytes, not {REPORT}")
    # step 2: the version is one this file reads, and the signature of the one known kind.
    version, algorithm = _uint(data[0x00:0x04]), _uint(data[0x34:0x38])
    if version not in VERSIONS:
        raise malformed("report", f"version {version}")
    if algorithm != ECDSA_P384_SHA384:
        raise malformed("report", f"signature algorithm {algorithm}")
    # step 3: what this version reserves is zero, also behind the signature.
    for start, end in (*_ALWAYS_ZERO, *(span for since, span in _ZERO_BEFORE.items() if version < since)):
        if any(data[start:end]):
            raise malformed("report", f"reserved bytes at {start:#x} are not zero")
    # step 4: the flags name a key; nothing is said by reserved bits.
    flags = _uint(data[0x48:0x4C])
    signing_key = KEYS.get(flags >> 2)
    if signing_key is None:
        raise malformed("report", f"flags {flags:#x}")
    # step 5: the policy has the bits a policy can have.
    policy = _uint(data[0x08:0x10])
    if policy & ~POLICY_KNOWN or not policy & POLICY_ONE:
        raise malformed("report", f"policy {policy:#x}")
    # step 6: a guest asked for the report; the host's own ask with another level.
    vmpl = _uint(data[0x30:0x34])
    if vmpl > HIGHEST_VMPL:
        raise malformed("report", f"VMPL {vmpl}")
    processor = (data[0x188], data[0x189], data[0x18A]) if version >= 3 else None
    mitigations = (_uint(data[0x1F8:0x200]), _uint(data[0x200:0x208])) if version >= 5 else None
    return Report(
        signed=data[:SIGNED],
        signature=(_uint(data[SIGNED : SIGNED + 72]), _uint(data[SIGNED + 72 : SIGNED + 144])),
        version=version,
        signing_key=signing_key,
        policy=policy,
        vmpl=vmpl,
        processor=processor,
        mitigations=mitigations,
    )
