"""Certificates in the API: what a compiled folder can be certified as, and whose certificates a verdict has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from vml.certificates.authority import Authority
from vml.certificates.revocations import SignedRevocations
from vml.certificates.statement import EXACT, Certificate, CertifiedIdentity
from vml.certificates.verify import Certified, VerifiedCertificate, verify_certificate
from vml.errors import CertificateRejected
from vml.identities import read_identities

if TYPE_CHECKING:
    from vml.backends.types import VerifiedClaim
    from vml.model import Model


def identities_of(model: Model) -> tuple[CertifiedIdentity, ...]:
    """The identities of a compiled folder, in the order of certificates: the exact commitment, and those that set-ups
    recorded.

    Raises:
        ValueError: the record is damaged.
        OSError: the folder cannot be read.
    """
    recorded = () if model.folder is None else read_identities(model.folder)
    found = {CertifiedIdentity(model.commitment, EXACT, model.certificate.semantics)}
    found |= {CertifiedIdentity(each.model, each.backend, each.scheme) for each in recorded if each.scheme}
    return tuple(sorted(found))


def certified(
    verdict: VerifiedClaim,
    certificates: Sequence[bytes],
    *,
    authorities: Collection[Authority],
    at: int,
    revocations: Sequence[bytes] = (),
    known_lists: Mapping[str, int] | None = None,
    require_revocation: bool = False,
) -> tuple[VerifiedCertificate, ...]:
    """Check certificates for what a proof showed.

    Args:
        verdict: of `verify`.
        certificates: files; each of them has to hold.
        authorities: whose word counts.
        at: unix seconds at which they have to be in force.
        revocations: lists, each of an issuer of its own, who issued one of the certificates.
        known_lists, require_revocation: see `vml.certificates.verify.verify_certificate`.

    Returns:
        What is certified, by whom, in the order of the files.

    Raises:
        CertificateRejected: REVOCATION_LIST, a list of none of the issuers: a name written otherwise hides nothing.
        MalformedProof, CertificateRejected, PolicyRejected, BackendUnavailable, ValueError: as `verify_certificate`.
    """
    claims = [Certified(claim.model, claim.context, verdict.semantics, verdict.scheme) for claim in verdict.claims]
    lists = [SignedRevocations.from_bytes(data) for data in revocations]
    found, read = [], list(map(Certificate.from_bytes, certificates))
    strange = {each.revocations.issuer for each in lists} - {each.statement.issuer for each in read}
    if strange:
        raise CertificateRejected("revocation_list", f"that of {', '.join(map(repr, sorted(strange)))} is of no issuer")
    for certificate in read:
        issuer = certificate.statement.issuer
        own = [each for each in lists if each.revocations.issuer == issuer]
        if len(own) > 1:
            raise ValueError(f"two revocation lists of {issuer!r} were given; give the newest")
        found.append(
            verify_certificate(
                certificate,
                claims,
                authorities=authorities,
                at=at,
                revocations=own[0] if own else None,
                known_lists=known_lists,
                require_revocation=require_revocation,
            )
        )
    return tuple(found)
