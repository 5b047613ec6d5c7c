"""One report of the kernel's interface for confidential guests: configfs-tsm, Linux 6.7 and later, TDX and SEV-SNP.

Making a folder below ``/sys/kernel/config/tsm/report`` makes a request of its own. One writes ``inblob`` (and, where
there are privilege levels, ``privlevel``) and reads ``provider``, ``outblob`` and ``auxblob``. The kernel counts writes
in ``generation``: if it counted others than ours, somebody shared the folder, and the answer may be to another
question.

Source: Linux, Documentation/ABI/testing/configfs-tsm-report.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from attestation.attester import AttestationFailed

ROOT = Path("/sys/kernel/config/tsm/report")
INBLOB = 64
MAX_BLOB = 1 << 17
"""As much as the verifier reads of a quote."""
MAX_TEXT = 64


class Request:
    """A folder of the interface. Tests put a fake kernel in its place."""

    def __init__(self, root: Path) -> None:
        self.folder = root / f"vml-{secrets.token_hex(8)}"

    def open(self) -> None:
        """Make the folder; the kernel fills it."""
        self.folder.mkdir()

    def close(self) -> None:
        """Remove it; the kernel empties it first."""
        self.folder.rmdir()

    def write(self, name: str, data: bytes) -> None:
        """One write, unbuffered: the kernel takes a blob as a whole."""
        with (self.folder / name).open("wb", buffering=0) as file:
            if file.write(data) != len(data):
                raise AttestationFailed(f"{name} was not written whole")

    def read(self, name: str, limit: int = MAX_BLOB) -> bytes:
        """A whole file of at most `limit` bytes."""
        with (self.folder / name).open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise AttestationFailed(f"{name} is larger than {limit} bytes")
        return data


def report(request: Request, inblob: bytes, provider: str, privlevel: int | None = None) -> tuple[bytes, bytes]:
    """Ask for one report.

    Args:
        request: a folder that is not there yet; it is gone afterwards.
        inblob: 64 bytes to be attested.
        provider: whose report is expected, such as "tdx_guest".
        privlevel: VMPL to ask from; None where the provider has no levels.

    Returns:
        The report, and what came beside it (may be empty).

    Raises:
        AttestationFailed: the interface is missing, of another provider, refused, or was disturbed.
        ValueError: another size of `inblob`.
    """
    if len(inblob) != INBLOB:
        raise ValueError(f"report data has {INBLOB} bytes, not {len(inblob)}")
    try:
        request.open()
        try:
            return _ask(request, inblob, provider, privlevel)
        finally:
            request.close()
    except OSError as error:
        raise AttestationFailed(f"configfs-tsm: {error}") from error


def _ask(request: Request, inblob: bytes, provider: str, privlevel: int | None) -> tuple[bytes, bytes]:
    found = request.read("provider", MAX_TEXT).decode("ascii", "replace").strip()
    if found != provider:
        raise AttestationFailed(f"reports here are {found[:40]!r}, not {provider!r}")
    before = _generation(request)
    writes = {} if privlevel is None else {"privlevel": str(privlevel).encode()}
    writes["inblob"] = inblob
    for name, data in writes.items():
        request.write(name, data)
    outblob = request.read("outblob")
    try:
        auxblob = request.read("auxblob")
    except FileNotFoundError:  # providers without such data do not show the file
        auxblob = b""
    if _generation(request) != before + len(writes):
        raise AttestationFailed("somebody else wrote to this request")
    if not outblob:
        raise AttestationFailed("the report is empty")
    return outblob, auxblob


def _generation(request: Request) -> int:
    text = request.read("generation", MAX_TEXT).strip()
    if not text.isdigit():
        raise AttestationFailed("generation is no number")
    return int(text)
