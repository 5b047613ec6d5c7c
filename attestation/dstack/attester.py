"""Quotes of an Intel TDX domain that runs dstack, through its guest agent's socket.

``POST /GetQuote`` with ``{"report_data": hex}`` gives ``{"quote": hex, "event_log": text, …}``: the interface of dstack
0.5, which 0.6 keeps unchanged on this path. The log begins at the firmware and ends with the application's own events,
so that policies can name the ``compose-hash``.

    python -m attestation.dstack.attester --nonce HEX -o quote.evidence.json

Source: dstack, docs/guest-api-v0.md, "GetQuote".
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
from pathlib import Path
from typing import Any

from attestation.attester import AttestationFailed, command, require_answer, require_sizes
from attestation.tdx.attester import td_report
from vml.canonical import require_shallow
from vml.errors import VerificationError
from vml.tee.dcap.eventlog import JSON_NAMES, read_event_log, replay
from vml.tee.evidence import Evidence, Kind

SOCKET = Path("/var/run/dstack.sock")
PATH = "/GetQuote"
MAX_ANSWER = 1 << 23
TIMEOUT_S = 60.0


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class DstackAttester:
    """Asks dstack's guest agent.

    Args:
        path: its socket, which the compose file has to mount.
    """

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path

    def attest(self, digest: bytes, nonce: bytes, public_key: bytes) -> Evidence:
        """As `Attester.attest`: report data is digest and nonce; the key stands in the certificate."""
        require_sizes(digest, nonce, public_key)
        answer = self._post({"report_data": (digest + nonce).hex()})
        try:
            quote = bytes.fromhex(answer["quote"])
            log = event_log(answer["event_log"])
        except (KeyError, TypeError, ValueError) as error:
            raise AttestationFailed(f"the guest agent's answer has no quote or no event log: {error!r}") from error
        require_answer(digest + nonce, lambda: td_report(quote).report_data)
        try:
            registers = replay(read_event_log(log))
        except VerificationError as error:
            raise AttestationFailed(f"the event log: {error}") from error
        if registers != td_report(quote).rtmr:
            raise AttestationFailed("the event log does not give the quote's registers")
        return Evidence(Kind.TDX, quote, None, log)

    def _post(self, asked: object) -> dict[str, Any]:
        connection = _Unix(self._path)
        try:
            connection.request("POST", PATH, json.dumps(asked), {"Content-Type": "application/json"})
            response = connection.getresponse()
            data = response.read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            raise AttestationFailed(f"{self._path}: {error!r}") from error
        finally:
            connection.close()
        if response.status != 200 or len(data) > MAX_ANSWER:
            raise AttestationFailed(f"the guest agent answers {response.status}: {data[:200]!r}")
        try:
            require_shallow(data)
            item = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise AttestationFailed(f"the guest agent's answer is no JSON: {error}") from error
        if not isinstance(item, dict):
            raise AttestationFailed("the guest agent's answer is no object")
        return item


def event_log(text: object) -> bytes:
    """dstack's log as evidence holds it: every event with the names the verifier needs; a preimage follows from them.

    Raises:
        ValueError, KeyError: no list of events.
    """
    if not isinstance(text, str):
        raise ValueError("the event log is no text")
    require_shallow(text.encode())
    events = json.loads(text)
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise ValueError("the event log is no list of events")
    kept = []
    for event in events:
        form = {} if event.get("version", 1) in (None, 1) else {"version": event["version"]}
        kept.append({name: event[name] for name in sorted(JSON_NAMES)} | form)
    return json.dumps(kept, separators=(",", ":")).encode()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m attestation.dstack.attester", description=__doc__.splitlines()[0])
    parser.add_argument("--socket", type=Path, default=SOCKET)
    raise SystemExit(command(lambda options: DstackAttester(options.socket), parser))
