"""Reports of an AMD SEV-SNP guest, through configfs-tsm, with the certificates that the host gives along.

python -m attestation.snp.attester --nonce HEX -o report.evidence.json
"""

from __future__ import annotations

import argparse
import ssl
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from attestation import tsm
from attestation.attester import AttestationFailed, command, require_answer, require_sizes
from vml.tee.evidence import Evidence, Kind, SnpCollateral
from vml.tee.snp.report import read_report

PROVIDER = "sev_guest"
ENTRY = 24
END = bytes(16)
# Source: AMD, "SEV-ES Guest-Hypervisor Communication Block Standardization" (56421), section 4.1.8.1.
NAMES = {
    UUID("63da758d-e664-4564-adc5-f4b93be8accd").bytes: "VCEK",
    UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1").bytes: "VLEK",
    UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782").bytes: "ASK",
    UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae").bytes: "ARK",
    UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea").bytes: "CRL",
}


class SnpAttester:
    """Asks the kernel of an SEV-SNP guest.

    Args:
        root: the folder of configfs-tsm.
        vmpl: privilege level to ask from; policies accept 0 unless they say otherwise.
        request: how a folder of the interface is used.
    """

    def __init__(
        self, root: Path = tsm.ROOT, vmpl: int = 0, request: Callable[[Path], tsm.Request] = tsm.Request
    ) -> None:
        self._root, self._vmpl, self._request = root, vmpl, request

    def attest(self, digest: bytes, nonce: bytes, public_key: bytes) -> Evidence:
        """As `Attester.attest`: report data is digest and nonce; the key stands in the certificate."""
        require_sizes(digest, nonce, public_key)
        report, certificates = tsm.report(self._request(self._root), digest + nonce, PROVIDER, self._vmpl)
        require_answer(digest + nonce, lambda: read_report(report).report_data)
        return Evidence(Kind.SNP, report, collateral(certificates, read_report(report).signing_key))


def collateral(table: bytes, key: str) -> SnpCollateral | None:
    """The collateral in a host's certificate table; None where the key's own or one above is missing.

    Args:
        table: 24 bytes an entry (GUID, offset, length), an entry of zeros, then the certificates; or nothing.
        key: "VCEK" or "VLEK": who signed.

    Raises:
        AttestationFailed: not such a table.
    """
    held = certificates(table)
    if not {key, "ASK", "ARK"} <= held.keys():
        return None
    chain = "".join(ssl.DER_cert_to_PEM_cert(held[name]) for name in ("ASK", "ARK"))
    return SnpCollateral(held[key], chain.encode("ascii"), held.get("CRL", b""))


def certificates(table: bytes) -> dict[str, bytes]:
    """The entries of a host's certificate table by name; unknown ones are left out. Raises as `collateral`."""
    if not table.strip(b"\0"):
        return {}
    entries: list[tuple[bytes, int, int]] = []
    for at in range(0, len(table), ENTRY):
        entry = table[at : at + ENTRY]
        if len(entry) != ENTRY:
            raise AttestationFailed("the certificate table has no end")
        if entry[:16] == END:
            break
        entries.append((entry[:16], int.from_bytes(entry[16:20], "little"), int.from_bytes(entry[20:], "little")))
    else:
        raise AttestationFailed("the certificate table has no end")
    first, held = ENTRY * (len(entries) + 1), {}
    for name, offset, length in entries:
        if offset < first or offset + length > len(table) or not length:
            raise AttestationFailed("an entry of the certificate table lies outside it")
        if NAMES.get(name) in held:
            raise AttestationFailed(f"the certificate table has two entries {NAMES[name]}")
        if name in NAMES:
            held[NAMES[name]] = table[offset : offset + length]
    return held


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m attestation.snp.attester", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=tsm.ROOT)
    parser.add_argument("--vmpl", type=int, choices=range(4), default=0)
    raise SystemExit(command(lambda options: SnpAttester(options.root, options.vmpl), parser))
