"""Asking a server for its log, and judging what came: which model decided, when, proved how, certified by whom.

What the log shows is checked by `vml.transparency.audit`; the receipt, the proof and the certificates of an entry here,
each against what the auditor holds: the server's key, a copy of the model, authorities.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from vml import api
from vml.backends import backend_of_scheme, get_backend
from vml.backends.types import Environment, VerifiedClaim
from vml.certificates.authority import Authority
from vml.certificates.revocations import SignedRevocations
from vml.certificates.statement import EXACT, Certificate
from vml.certificates.verify import Certified, VerifiedCertificate, verify_certificate
from vml.claim import parse_bytes32
from vml.client import receipts
from vml.client.session import httpx
from vml.errors import ClaimMismatch, MalformedProof, ServerError, VerificationError
from vml.proof import MAX_BYTES as MAX_PROOF_BYTES
from vml.proof import Proof
from vml.tee.binding import key_id
from vml.transparency.audit import Audited, Entry, Evidence
from vml.transparency.checkpoint import LogProof

if TYPE_CHECKING:
    from vml.api.models import ModelLike
    from vml.policy import Policy

MAX_ANSWER_BYTES = 16 << 20
TIMEOUT_S = 60.0


class Log(Protocol):
    """Where an auditor finds a log; nothing that it says is believed."""

    def checkpoint(self) -> bytes:
        """The newest signed note."""

    def evidence(self, digest: bytes) -> Evidence | None:
        """What shows a claim's entry; None where there is none."""

    def asked_under(self, context: bytes) -> list[bytes]:
        """Digests of the claims of one context."""

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
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._errors = library.HTTPError, library.InvalidURL
        self._http = library.Client(base_url=url.rstrip("/"), headers=headers, timeout=TIMEOUT_S)
        self._url = url

    def checkpoint(self) -> bytes:
        """The newest signed note. ServerError where the server does not answer."""
        return self._get("/v1/log/checkpoint") or b""

    def evidence(self, digest: bytes) -> Evidence | None:
        """What shows a claim's entry, with its proof and the certificates that the server has."""
        data = self._get(f"/v1/log/inclusion/0x{digest.hex()}")
        if data is None:
            return None
        found = _json(data)
        files = _json(self._get("/v1/certificates") or b"{}")
        try:
            proof = LogProof(
                int(found["index"]), tuple(map(parse_bytes32, found["hashes"])), found["checkpoint"].encode()
            )
            return Evidence(
                entry=base64.b64decode(found["entry"], validate=True),
                log_proof=proof.encode(),
                envelope=self._get(f"/v1/proofs/0x{digest.hex()}", MAX_PROOF_BYTES),
                certificates=_files(files.get("certificates", [])),
                revocations=_files(files.get("revocations", [])),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ServerError(f"{self._url} does not speak of its log as expected: {error!r}") from error

    def asked_under(self, context: bytes) -> list[bytes]:
        """Digests of the claims of one context."""
        return self._hashes(f"/v1/log/contexts/0x{context.hex()}", "claims")

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The roots that prove that the log only grew; none where the server says that it is smaller."""
        return self._hashes(f"/v1/log/consistency?first={first}&second={second}", "hashes")

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _hashes(self, path: str, member: str) -> list[bytes]:
        data = self._get(path)
        if data is None:
            return []
        try:
            return list(map(parse_bytes32, _json(data)[member]))
        except (KeyError, TypeError, ValueError) as error:
            raise ServerError(f"{self._url} does not speak of its log as expected: {error!r}") from error

    def _get(self, path: str, limit: int = MAX_ANSWER_BYTES) -> bytes | None:
        """The body; None for 404."""
        parts, size = [], 0
        try:
            with self._http.stream("GET", path) as answer:
                for part in answer.iter_bytes():
                    size += len(part)
                    if size > limit:
                        raise ServerError(f"{self._url}{path}: more than {limit} bytes")
                    parts.append(part)
        except self._errors as error:
            raise ServerError(f"{self._url} does not answer: {error!r}") from error
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            said = b"".join(parts)[:500].decode("utf-8", "replace")
            raise ServerError(f"{self._url}{path}: {answer.status_code} {said}", status=answer.status_code)
        return b"".join(parts)


@dataclass(frozen=True)
class Judge:
    """What an auditor holds.

    Args:
        model: a copy of the model, its identity, or None: then no proof is checked.
        policy: what is good enough of a proof.
        environment: of the check of a proof.
        key: verifying key, as for `vml.verify`.
        server_key: id of the key whose receipts are expected, 32 bytes; None takes any.
        authorities: whose certificates count.
        certificates, revocations: the auditor's own files; a certificate of these has to hold.
        now: unix seconds, at which revocation lists have to be good.
        require_revocation: a certificate without a list does not hold.
        known_lists: numbers of the last lists that the auditor saw, so that the server shows no older one.
    """

    model: ModelLike | bytes | None
    policy: Policy | None
    environment: Environment | None
    key: str | None
    server_key: bytes | None
    authorities: Collection[Authority]
    certificates: Sequence[bytes]
    revocations: Sequence[bytes]
    now: int
    require_revocation: bool = False
    known_lists: Mapping[str, int] = field(default_factory=dict)

    def decision(self, audited: Audited, evidence: Evidence) -> tuple[dict[str, Any], list[VerifiedCertificate]]:
        """Everything that is shown of one entry, as JSON, and the certificates that hold for it.

        Raises:
            VerificationError: its receipt or its proof is not what it has to be, or a certificate of the auditor's own
                does not hold.
        """
        entry = audited.entry
        held, refused = self._certificates(entry, evidence)
        said = {
            "digest": "0x" + entry.claim.digest().hex(),
            "claim": entry.claim.to_json(),
            "model_name": entry.model_name,
            "semantics": entry.semantics,
            "created_at": entry.created_at,
            "log_index": audited.index,
            "log_size": audited.checkpoint.size,
            "receipt": self._receipt(entry),
            "proof": self._proof(entry, evidence.envelope),
            "certificates": [{**each.to_json(), "remark": each.remark()} for each in held],
            "certificates_refused": refused,
        }
        return said, held

    def _receipt(self, entry: Entry) -> dict[str, Any] | None:
        """Who answers for it; None where nobody signed."""
        if not entry.receipt:
            if self.server_key is not None:
                raise ClaimMismatch("receipt", "one of the pinned server key", "none")
            return None
        signed = receipts.read(entry.receipt)
        shown = key_id(signed.algorithm, signed.public_key)
        receipts.verify(signed, entry.claim.digest(), shown if self.server_key is None else self.server_key)
        said = {"key_id": "0x" + shown.hex(), "sequence": signed.receipt.sequence, "epoch": signed.receipt.epoch}
        return {**said, "issued_at": signed.receipt.issued_at, "pinned": self.server_key is not None}

    def _proof(self, entry: Entry, envelope: bytes | None) -> dict[str, Any] | None:
        """How it was proved; None where nothing was, or where the auditor has no model to check it with."""
        if envelope is None:
            return None
        proof = Proof.from_bytes(envelope)
        if self.model is None:
            return {"verified": False, "backend": proof.backend, "why": "not checked: no --model was given"}
        able = get_backend(backend_of_scheme(proof.scheme)).capabilities()
        verdict: VerifiedClaim = api.verify(
            proof,
            model=self.model,
            context=entry.claim.context,
            policy=self.policy,
            key=self.key,
            environment=self.environment,
        )
        same = entry.claim in verdict.claims
        if able.exact and not same:
            raise ClaimMismatch("claim", "0x" + entry.claim.digest().hex(), "another claim's proof")
        about = "this claim" if same else "a claim in the backend's own arithmetic; its outputs were not compared"
        return {
            "verified": True,
            "backend": verdict.backend,
            "assurance": verdict.assurance,
            "security_bits": verdict.security_bits,
            "trusted": list(verdict.trusted),
            "about": about,
        }

    def _certificates(self, entry: Entry, evidence: Evidence) -> tuple[list[VerifiedCertificate], list[str]]:
        """Those in force when the claim was made: the auditor's own, which have to hold, and those that came along."""
        claim = Certified(entry.claim.model, entry.claim.context, entry.semantics)
        held = [self._held(data, claim, entry.created_at, self.revocations) for data in self.certificates]
        refused: list[str] = []
        if not self.authorities:
            return held, refused
        for data in evidence.certificates:
            if data in self.certificates or not _about(data, entry):
                continue
            try:
                found = self._held(data, claim, entry.created_at, [*self.revocations, *evidence.revocations])
            except VerificationError as error:
                refused.append(str(error))
            else:
                held.append(found)
        return held, refused

    def _held(self, data: bytes, claim: Certified, at: int, lists: Sequence[bytes]) -> VerifiedCertificate:
        issuer = Certificate.from_bytes(data).statement.issuer
        own = [each for each in map(SignedRevocations.from_bytes, lists) if each.revocations.issuer == issuer]
        newest = max(own, key=lambda each: each.revocations.number, default=None)
        return verify_certificate(
            data,
            [claim],
            authorities=self.authorities,
            at=at,
            now=self.now,
            revocations=newest,
            known_lists=self.known_lists,
            require_revocation=self.require_revocation,
        )


def _about(data: bytes, entry: Entry) -> bool:
    """Whether a certificate speaks of the entry's model at all; one that cannot be read does not."""
    try:
        identities = Certificate.from_bytes(data).statement.identities
    except MalformedProof:
        return False
    return any(each.model == entry.claim.model and each.backend == EXACT for each in identities)


def _json(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except (RecursionError, ValueError) as error:
        raise ServerError(f"the server's answer is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ServerError("the server's answer is no JSON object")
    return value


def _files(items: Any) -> tuple[bytes, ...]:
    return tuple(base64.b64decode(item["file"], validate=True) for item in items)
