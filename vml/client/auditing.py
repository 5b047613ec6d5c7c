"""Judging what a log shows: which model decided, when, proved how, certified by whom.

What the log shows is checked by `vml.transparency.audit`; the receipt, the proof and the certificates of an entry here,
each against what the auditor holds: the server's key, a copy of the model, authorities.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vml import api
from vml.backends import backend_of_scheme, get_backend
from vml.backends.types import Environment, VerifiedClaim
from vml.certificates.authority import Authority
from vml.certificates.revocations import SignedRevocations
from vml.certificates.statement import Certificate, Statement
from vml.certificates.verify import Certified, VerifiedCertificate, verify_certificate
from vml.client import receipts
from vml.client.server_log import about, readable
from vml.errors import CertificateRejected, ClaimMismatch, LogRejected, VerificationError
from vml.proof import Proof
from vml.tee.binding import key_id
from vml.transparency.audit import Audited, Entry, Evidence

if TYPE_CHECKING:
    from vml.api.models import ModelLike
    from vml.policy import Policy

SKEW_S = 600
"""How far clocks may be apart: the server's at the receipt and at the entry, and the auditor's."""


@dataclass(frozen=True)
class Seen:
    """A checkpoint that the auditor took: what stands under it is older.

    Args:
        size: entries under it.
        at: unix seconds, when it was taken.
    """

    size: int
    at: int


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
        seen: a checkpoint that the auditor took, and when; None leaves times to the server's word.
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
    seen: Seen | None = None

    @cached_property
    def _accepted(self) -> frozenset[bytes] | None:
        """Identities of the auditor's model; None where there is none."""
        return None if self.model is None else api.accepted_models(self.model)

    def decision(self, audited: Audited, evidence: Evidence) -> tuple[dict[str, Any], list[VerifiedCertificate]]:
        """Everything that is shown of one entry, as JSON, and the certificates that hold for it.

        Raises:
            ClaimMismatch: another model decided, or its receipt or proof is about another claim.
            LogRejected: TIME, clocks that contradict each other.
            VerificationError: its receipt or its proof is not what it has to be, or a certificate of the auditor's own
                does not hold.
        """
        entry = audited.entry
        if self._accepted is not None and entry.claim.model not in self._accepted:
            raise ClaimMismatch("model", "that of --model", "0x" + entry.claim.model.hex())
        receipt = self._receipt(entry)
        time_said = self._time(audited, receipt)
        held, refused, remarks = self._certificates(audited, evidence)
        judged = {"judged_for": entry.created_at, "time": time_said}
        said = {
            "digest": "0x" + entry.claim.digest().hex(),
            "claim": entry.claim.to_json(),
            "model_name": entry.model_name,
            "semantics": entry.semantics,
            "created_at": entry.created_at,
            "time": time_said,
            "log_index": audited.index,
            "log_size": audited.checkpoint.size,
            "receipt": receipt,
            "proof": self._proof(entry, evidence.envelope),
            "certificates": [{**each.to_json(), "remark": each.remark(), **judged} for each in held],
            "certificates_refused": refused,
            "remarks": remarks,
        }
        return said, held

    def _time(self, audited: Audited, receipt: Mapping[str, Any] | None) -> str:
        """What is known of when the entry was made, in words."""
        said = audited.entry.created_at
        if said > self.now + SKEW_S:
            raise LogRejected("time", f"the entry says unix time {said}, which is still to come")
        if receipt is not None and abs(receipt["issued_at"] - said) > SKEW_S:
            raise LogRejected("time", f"the entry says unix time {said}, its receipt {receipt['issued_at']}")
        if self.seen is None or audited.index >= self.seen.size:
            return "the server's word"
        if said > self.seen.at + SKEW_S:
            raise LogRejected("time", f"the entry says unix time {said}, it was there at {self.seen.at}")
        return f"the server's word; not after unix time {self.seen.at}, when you had its checkpoint"

    def _stood(self, index: int, moment: int) -> bool:
        """Whether the auditor took a checkpoint above the entry before a time."""
        return self.seen is not None and index < self.seen.size and self.seen.at < moment

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
        if not same:
            why = "a valid proof of the model under this context, in the backend's own arithmetic: whether of this "
            return {"verified": False, "backend": proof.backend, "why": why + "input and output was not compared"}
        return {
            "verified": True,
            "backend": verdict.backend,
            "assurance": verdict.assurance,
            "security_bits": verdict.security_bits,
            "trusted": list(verdict.trusted),
            "about": "this claim",
        }

    def _certificates(
        self, audited: Audited, evidence: Evidence
    ) -> tuple[list[VerifiedCertificate], list[str], list[str]]:
        """Those in force when the claim was made: the auditor's own, which have to hold, and those that came along;
        why others of these are refused; remarks."""
        entry = audited.entry
        own = [SignedRevocations.from_bytes(data) for data in self.revocations]
        shown = readable(evidence.revocations)
        held = [self._held(data, audited, own, []) for data in self.certificates]
        refused: list[str] = []
        issuers = {each.statement.issuer for each in held}
        for data in evidence.certificates if self.authorities else ():
            if data in self.certificates or not about(data, entry):
                continue
            issuers.add(Certificate.from_bytes(data).statement.issuer)
            try:
                held.append(self._held(data, audited, own, shown))
            except VerificationError as error:
                refused.append(str(error))
        strange = sorted({each.revocations.issuer for each in own} - issuers)
        return held, refused, [f"your revocation list of {issuer!r} is of no certificate here" for issuer in strange]

    def _held(
        self, data: bytes, audited: Audited, own: Sequence[SignedRevocations], shown: Sequence[SignedRevocations]
    ) -> VerifiedCertificate:
        entry, certificate = audited.entry, Certificate.from_bytes(data)
        found = verify_certificate(
            certificate,
            [Certified(entry.claim.model, entry.claim.context, entry.semantics)],
            authorities=self.authorities,
            at=entry.created_at,
            now=self.now,
            revocations=_list_for(certificate.statement, own, shown),
            known_lists=self.known_lists,
            require_revocation=self.require_revocation,
        )
        later = found.revoked
        if later is not None and later.revoked_at <= self.now and not self._stood(audited.index, later.revoked_at):
            # An entry of yesterday can say any time before the revocation: only a checkpoint of before shows better.
            when = f"from unix time {later.revoked_at} on; that the decision was before is the server's word alone"
            raise CertificateRejected("revoked", when)
        return found


def _list_for(
    statement: Statement, own: Sequence[SignedRevocations], shown: Sequence[SignedRevocations]
) -> SignedRevocations | None:
    """The newest list of an issuer; before all, one of the auditor's that names the certificate under another issuer:
    then something is wrong, and the verification says so."""
    other = (each for each in own if each.revocations.issuer != statement.issuer)
    naming = [each for each in other if each.revocations.find(statement.serial) is not None]
    same = (each for each in (*own, *shown) if each.revocations.issuer == statement.issuer)
    return naming[0] if naming else max(same, key=lambda each: each.revocations.number, default=None)
