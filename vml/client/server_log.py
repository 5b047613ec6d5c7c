"""Asking a server for its log; nothing that it says is believed here."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import Any, Protocol

from vml.certificates.revocations import SignedRevocations
from vml.certificates.statement import EXACT, Certificate
from vml.claim import parse_bytes32
from vml.client.exchange import Request, printable, read_object
from vml.client.session import Body, httpx
from vml.errors import MalformedProof, ServerError
from vml.proof import MAX_BYTES as MAX_PROOF_BYTES
from vml.transparency.audit import MAX_FILES, Entry, Evidence
from vml.transparency.checkpoint import LogProof

MAX_ANSWER_BYTES = 16 << 20
TIMEOUT_S = 60.0
MAX_DECISIONS = 1000
"""About one case; more were not made by one decision, but by whoever wants to hide it."""
PAGES = 100


class Log(Protocol):
    """Where an auditor finds a log; nothing that it says is believed."""

    def checkpoint(self) -> bytes:
        """The newest signed note."""

    def evidence(self, digest: bytes) -> Evidence | None:
        """What shows a claim's entry; None where there is none."""

    def asked_under(self, context: bytes) -> list[bytes]:
        """Digests of the claims of one context, the oldest first; a few more than `MAX_DECISIONS` where there are."""

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The roots that prove that the log only grew."""

    def close(self) -> None:
        """Let go of it."""


class ServerLog:
    """The log of an inference server.

    Args:
        url: ``http://host:port``.
        api_key: where the server wants one.

    Raises:
        BackendUnavailable: the extra ``client`` is not installed.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        library = httpx()
        # Nothing compressed: a small answer could become any number of bytes before anybody counts them.
        headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {api_key}"} if api_key else {})}
        self._errors = library.HTTPError, library.InvalidURL
        self._http = library.Client(base_url=url.rstrip("/"), headers=headers, timeout=TIMEOUT_S)
        self._url = url
        self._shown: tuple[list[bytes], list[bytes]] | None = None

    def checkpoint(self) -> bytes:
        """The newest signed note. ServerError where the server does not answer."""
        return self._get("/v1/log/checkpoint") or b""

    def evidence(self, digest: bytes) -> Evidence | None:
        """What shows a claim's entry, with its proof and the certificates that the server has of its model."""
        data = self._get(f"/v1/log/inclusion/0x{digest.hex()}")
        if data is None:
            return None
        found = read_object(data)
        try:
            proof = LogProof(
                _index(found["index"]), tuple(map(parse_bytes32, found["hashes"])), found["checkpoint"].encode()
            )
            entry, log_proof = base64.b64decode(found["entry"], validate=True), proof.encode()
            if self._shown is None:
                files = read_object(self._get("/v1/certificates") or b"{}")
                certificates = _files(files.get("certificates", []))
                self._shown = certificates, _files(files.get("revocations", []))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._strange(error) from error
        envelope = self._get(f"/v1/proofs/0x{digest.hex()}", MAX_PROOF_BYTES)
        return Evidence(entry, log_proof, envelope, *_fitting(entry, *self._shown))

    def asked_under(self, context: bytes) -> list[bytes]:
        """Digests of the claims of one context, the oldest first."""
        found, start = list[bytes](), 0
        for _ in range(PAGES):
            said = read_object(self._get(f"/v1/log/contexts/0x{context.hex()}?start={start}") or b"{}")
            try:
                found += map(parse_bytes32, said["claims"])
                following = said["next"]
                if following is None or len(found) > MAX_DECISIONS:
                    return found
                if _index(following) <= start:
                    raise ValueError("it goes back")
            except (KeyError, TypeError, ValueError) as error:
                raise self._strange(error) from error
            start = following
        raise self._strange(ValueError("one case in too many answers"))

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The roots that prove that the log only grew; none where the server says that it is smaller."""
        data = self._get(f"/v1/log/consistency?first={first}&second={second}")
        if data is None:
            return []
        try:
            return list(map(parse_bytes32, read_object(data)["hashes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange(error) from error

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _strange(self, error: Exception) -> ServerError:
        return ServerError(f"{self._url} does not speak of its log as expected: {printable(repr(error))}")

    def _get(self, path: str, limit: int = MAX_ANSWER_BYTES) -> bytes | None:
        """The body; None for 404."""
        end = time.monotonic() + TIMEOUT_S
        try:
            with self._http.stream("GET", path) as answer:
                body = Body(Request("GET", path, limit=limit), answer.headers)
                for part in answer.iter_raw():
                    body.add(part)
                    # The library's own limit is for each part: a server that drips would hold an auditor for ever.
                    if time.monotonic() > end:
                        raise ServerError(f"{self._url}{path}: no whole answer within {TIMEOUT_S:g} s")
        except self._errors as error:
            raise ServerError(f"{self._url} does not answer: {error!r}") from error
        reply = body.reply(answer.status_code, answer.headers)
        if reply.status == 404:
            return None
        if reply.status != 200:
            said = printable(reply.body[:500].decode("utf-8", "replace"))
            raise ServerError(f"{self._url}{path}: {reply.status} {said}", status=reply.status)
        return reply.body


def about(data: bytes, entry: Entry) -> bool:
    """Whether a certificate speaks of the entry's model at all; one that cannot be read does not."""
    try:
        identities = Certificate.from_bytes(data).statement.identities
    except MalformedProof:
        return False
    return any(each.model == entry.claim.model and each.backend == EXACT for each in identities)


def readable(lists: Sequence[bytes]) -> list[SignedRevocations]:
    """The lists among files; what is none is left out."""
    found = []
    for data in lists:
        try:
            found.append(SignedRevocations.from_bytes(data))
        except MalformedProof:
            continue
    return found


def _fitting(
    entry: bytes, certificates: Sequence[bytes], lists: Sequence[bytes]
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Of what a server shows, what belongs to an entry, as much as evidence holds: its model's certificates, and the
    lists of their issuers."""
    try:
        read = Entry.from_bytes(entry)
    except MalformedProof:
        return (), ()
    own = [data for data in certificates if about(data, read)][:MAX_FILES]
    issuers = {Certificate.from_bytes(data).statement.issuer for data in own}
    fitting = (each.to_bytes() for each in readable(lists) if each.revocations.issuer in issuers)
    return tuple(own), tuple(fitting)[:MAX_FILES]


def _index(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no index")
    return value


def _files(items: Any) -> list[bytes]:
    return [base64.b64decode(item["file"], validate=True) for item in items]
