"""Quotes of an Intel TDX domain, through configfs-tsm.

The evidence has no collateral: it comes from Intel's service or a cache of it, outside (`README.md`).

    python -m attestation.tdx.attester --nonce HEX -o quote.evidence.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from attestation import tsm
from attestation.attester import AttestationFailed, command, require_answer, require_sizes
from vml.errors import VerificationError
from vml.tee.dcap.eventlog import MAX_LOG, read_event_log, replay
from vml.tee.dcap.quote import TDX_TYPE, TdReport, read_quote
from vml.tee.evidence import Evidence, Kind

PROVIDER = "tdx_guest"
CCEL = Path("/sys/firmware/acpi/tables/data/CCEL")


class TdxAttester:
    """Asks the kernel of a TDX domain.

    Args:
        root: the folder of configfs-tsm.
        event_log: the firmware's log, to go with the quote; None leaves it out. It has to give the quote's registers,
            so it cannot go along where something without a log (IMA, say) extends them, too.
        request: how a folder of the interface is used.
    """

    def __init__(
        self,
        root: Path = tsm.ROOT,
        event_log: Path | None = None,
        request: Callable[[Path], tsm.Request] = tsm.Request,
    ) -> None:
        self._root, self._event_log, self._request = root, event_log, request

    def attest(self, digest: bytes, nonce: bytes, public_key: bytes) -> Evidence:
        """As `Attester.attest`: report data is digest and nonce; the key stands in the certificate."""
        require_sizes(digest, nonce, public_key)
        quote, _ = tsm.report(self._request(self._root), digest + nonce, PROVIDER)
        require_answer(digest + nonce, lambda: td_report(quote).report_data)
        log = None if self._event_log is None else event_log(self._event_log, quote)
        return Evidence(Kind.TDX, quote, None, log)


def td_report(quote: bytes) -> TdReport:
    """What a TDX quote says of its domain.

    Raises:
        MalformedProof: it is no quote.
        AttestationFailed: it is one of SGX.
    """
    found = read_quote(quote)
    if found.tee_type != TDX_TYPE:
        raise AttestationFailed("a quote of SGX")
    return TdReport.read(found.body)


def event_log(path: Path, quote: bytes) -> bytes:
    """A log that gives the quote's run-time registers.

    Raises:
        AttestationFailed: it is missing, unreadable or gives others.
    """
    try:
        with path.open("rb") as file:
            log = file.read(MAX_LOG + 1)
        registers = replay(read_event_log(log))
    except (OSError, VerificationError) as error:
        raise AttestationFailed(f"the event log: {error}") from error
    if registers != td_report(quote).rtmr:
        raise AttestationFailed("the event log does not give the quote's registers")
    return log


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m attestation.tdx.attester", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=tsm.ROOT)
    parser.add_argument("--event-log", type=Path, nargs="?", const=CCEL, help=f"send this log along ({CCEL})")
    raise SystemExit(command(lambda options: TdxAttester(options.root, options.event_log), parser))
