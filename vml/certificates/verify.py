"""Checking a model's certificate: numbered steps; it returns what is certified, or raises."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vml.certificates import reading
from vml.certificates.authority import Authority
from vml.certificates.revocations import Revoked, SignedRevocations
from vml.certificates.signatures import check_signature
from vml.certificates.statement import EXACT, Certificate, CertifiedIdentity, Statement
from vml.errors import CertificateRejected, PolicyRejected


@dataclass(frozen=True)
class Certified:
    """What is to be certified: a verified claim's model and use.

    Args:
        model: 32-byte identity.
        context: 32 bytes.
        semantics: name of the arithmetic it was run under.
        scheme: of the proof; empty where only the exact model's answer is looked at.
    """

    model: bytes
    context: bytes
    semantics: str
    scheme: str = ""


@dataclass(frozen=True)
class VerifiedCertificate:
    """A certificate that holds.

    Args:
        statement: what it says.
        authority: whose key signed it, as it was pinned.
        identities: those of its identities that the claims are about.
        revocations: number of the list that does not name it; None where no list was given.
        next_update: until when that list is good, unix seconds.
        revoked: a revocation that took force after the time it was judged for.
    """

    statement: Statement
    authority: str
    identities: tuple[CertifiedIdentity, ...]
    revocations: int | None
    next_update: int | None
    revoked: Revoked | None

    def to_json(self) -> dict[str, Any]:
        """As verdicts show it."""
        said = self.statement.to_json()
        return {
            **{name: said[name] for name in ("issuer", "serial", "subject", "accuracy", "not_before", "not_after")},
            "scope": said["scope"],
            "authority": self.authority,
            "identities": [each.to_json() for each in self.identities],
            "further_identities": len(self.statement.identities) - len(self.identities),
            "revocations": self.revocations,
            "revocations_next_update": self.next_update,
            "revoked_since": None if self.revoked is None else self.revoked.to_json(),
        }

    def remark(self) -> str:
        """What is known of its revocation, in words."""
        if self.revocations is None:
            return "no revocation list was given: the certificate may have been revoked"
        if self.revoked is not None:
            since = f"revoked from unix time {self.revoked.revoked_at} on: {self.revoked.reason or 'no reason given'}"
            return f"{since}; it held at the time it was judged for"
        return f"not revoked by list {self.revocations}, good until unix time {self.next_update}"


def verify_certificate(
    certificate: Certificate | bytes,
    claims: Sequence[Certified],
    *,
    authorities: Collection[Authority],
    at: int,
    revocations: SignedRevocations | bytes | None = None,
    now: int | None = None,
    known_lists: Mapping[str, int] | None = None,
    require_revocation: bool = False,
) -> VerifiedCertificate:
    """Verify a certificate for claims, or raise.

    Args:
        certificate: the file.
        claims: verified claims; all of them have to be about what it certifies.
        authorities: whose word counts; one of them has to have signed.
        at: unix seconds at which the certificate has to be in force.
        revocations: the authority's list; None where there is none.
        now: unix seconds at which the list has to be good; `at` where it is not given.
        known_lists: numbers of the last lists that the verifier saw, by `list_names`.
        require_revocation: refuse without a list.

    Returns:
        What is certified, by whom.

    Raises:
        MalformedProof: not a certificate, or not a list.
        CertificateRejected: AUTHORITY, SIGNATURE, CHAIN, KEY_USAGE, ISSUER, NOT_YET_VALID, EXPIRED, MODEL, SCOPE,
            REVOCATION_LIST, STALE, REVOKED.
        PolicyRejected: no list, and one is required.
        BackendUnavailable: the signature needs the extra ``certificates``, which is not installed.
        ValueError: no claims, or no authority.
    """
    if not claims or not authorities:
        raise ValueError("a certificate is verified for claims, by authorities whose word counts")

    # step 1: one strict decoding
    found = Certificate.from_bytes(certificate) if isinstance(certificate, bytes) else certificate
    statement = found.statement

    # step 2: a pinned authority signed it
    authority = _signer(found, authorities, at)

    # step 3: in force
    if at < statement.not_before:
        raise CertificateRejected("not_yet_valid", f"it begins at unix time {statement.not_before}")
    if at > statement.not_after:
        raise CertificateRejected("expired", f"it ended at unix time {statement.not_after}")

    # step 4: of these models, under the arithmetic they were run with
    about = tuple(_identity(statement, claim) for claim in claims)

    # step 5: for this use
    for claim in claims:
        if statement.scope.contexts and claim.context not in statement.scope.contexts:
            raise CertificateRejected("scope", f"it is not for the context {reading.hexed(claim.context)}")

    # step 6: not revoked, by a list of the same authority that is the newest known and not stale
    if revocations is None:
        if require_revocation:
            raise PolicyRejected("require_revocation", "no revocation list was given")
        return VerifiedCertificate(statement, str(authority), _once(about), None, None, None)
    listed = SignedRevocations.from_bytes(revocations) if isinstance(revocations, bytes) else revocations
    issue, when = listed.revocations, at if now is None else now
    check_signature(authority, issue.signable(), listed.signature, when)
    if issue.issuer != statement.issuer:
        raise CertificateRejected("revocation_list", f"the list is {issue.issuer!r}'s, not {statement.issuer!r}'s")
    known = max((known_lists or {}).get(name, 0) for name in list_names(str(authority), issue.issuer))
    if issue.number < known:
        raise CertificateRejected("stale", f"list {issue.number} was given, list {known} is known")
    if when > issue.next_update:
        raise CertificateRejected("stale", f"the revocation list ended at unix time {issue.next_update}")
    if when < issue.issued_at:
        raise CertificateRejected("revocation_list", f"the list begins at unix time {issue.issued_at}")
    revoked = issue.find(statement.serial)
    if revoked is not None and revoked.revoked_at <= at:
        raise CertificateRejected("revoked", f"from unix time {revoked.revoked_at} on: {revoked.reason or 'no reason'}")
    return VerifiedCertificate(statement, str(authority), _once(about), issue.number, issue.next_update, revoked)


def list_names(authority: str, issuer: str) -> list[str]:
    """Under which a verifier remembers whose list it saw: one name for each pinned key, so that another root beside
    those of before makes nobody forget."""
    return [f"{key} {issuer}" for key in authority.split(", ")]


def _signer(certificate: Certificate, authorities: Collection[Authority], at: int) -> Authority:
    """The authority that signed: the first pinned one whose check passes. With one pin its own error is raised."""
    refusals = []
    for authority in authorities:
        try:
            check_signature(authority, certificate.statement.signable(), certificate.signature, at)
        except CertificateRejected as error:
            refusals.append(error)
        else:
            return authority
    if len(refusals) == 1:
        raise refusals[0]
    raise CertificateRejected("authority", "; ".join(map(str, refusals)))


def _identity(statement: Statement, claim: Certified) -> CertifiedIdentity:
    """The certified identity that a claim is about."""
    for identity in statement.identities:
        arithmetic = claim.semantics if identity.backend == EXACT else claim.scheme
        if identity.model == claim.model and identity.scheme == arithmetic:
            return identity
    raise CertificateRejected("model", f"it certifies other models than {reading.hexed(claim.model)}")


def _once(identities: Sequence[CertifiedIdentity]) -> tuple[CertifiedIdentity, ...]:
    return tuple(dict.fromkeys(identities))
