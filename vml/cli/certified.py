"""Whose certificate stands behind what was proved: options of `vml verify` and `vml audit`, and how that is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.cli.output import add, hexed

if TYPE_CHECKING:
    from vml.backends.types import VerifiedClaim
    from vml.certificates.authority import Authority
    from vml.certificates.verify import VerifiedCertificate

MAX_FILE_BYTES = 1 << 22

CertificateFiles = Annotated[
    list[Path] | None,
    typer.Option("--certificate", metavar="FILE", help="Certificate that must hold; may be repeated."),
]
Authorities = Annotated[
    list[str] | None,
    typer.Option("--authority", metavar="KEY|ROOT.pem", help="Whose certificates count; may be repeated."),
]
RevocationFiles = Annotated[
    list[Path] | None, typer.Option("--revocations", metavar="FILE", help="The authority's list of revocations.")
]
RequireRevocation = Annotated[
    bool, typer.Option("--require-revocation", help="Refuse a certificate without a list of its authority.")
]
Memory = Annotated[
    Path | None,
    typer.Option("--revocation-memory", metavar="FILE", help="Remembers the lists seen, so that none goes back."),
]


@dataclass(frozen=True)
class Certifying:
    """What the options ask for.

    Args:
        certificates, revocations: files.
        authorities: whose word counts.
        require_revocation: refuse without a list.
        memory: file of the lists that were seen.
    """

    certificates: tuple[Path, ...]
    authorities: tuple[Authority, ...]
    revocations: tuple[Path, ...]
    require_revocation: bool
    memory: Path | None

    def check(self, verdict: VerifiedClaim, at: int) -> tuple[VerifiedCertificate, ...]:
        """Check every certificate for what a proof showed; none where none is given.

        Raises:
            VerificationError: one does not hold.
        """
        if not self.certificates:
            return ()
        from vml import api
        from vml.certificates import memory

        found = api.certified(
            verdict,
            [read(path) for path in self.certificates],
            authorities=self.authorities,
            at=at,
            revocations=[read(path) for path in self.revocations],
            known_lists=None if self.memory is None else memory.recall(self.memory),
            require_revocation=self.require_revocation,
        )
        if self.memory is not None:
            memory.remember(self.memory, found)
        return found


def read_certifying(
    certificates: Sequence[Path] | None,
    authorities: Sequence[str] | None,
    revocations: Sequence[Path] | None,
    require_revocation: bool,
    memory: Path | None,
) -> Certifying:
    """The options, where they fit together.

    Raises:
        ValueError: a certificate without an authority, or anything else without a certificate.
    """
    if certificates and not authorities:
        raise ValueError("--certificate needs --authority: whose word counts is yours to say, not the certificate's")
    if not certificates and (authorities or revocations or require_revocation or memory is not None):
        raise ValueError("--authority, --revocations, --require-revocation and --revocation-memory need --certificate")
    pins = []
    if authorities:
        from vml.certificates.authority import Authority

        pins = [Authority.load(text) for text in authorities]
    files = tuple(certificates or ()), tuple(revocations or ())
    return Certifying(files[0], tuple(pins), files[1], require_revocation, memory)


def read(path: Path) -> bytes:
    """A certificate or list.

    Raises:
        ValueError: larger than 4 MiB.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{path}: more than {MAX_FILE_BYTES} bytes")
    return data


def as_json(found: Sequence[VerifiedCertificate]) -> list[dict[str, Any]]:
    """The member `certificates` of a verdict."""
    return [{**each.to_json(), "remark": each.remark()} for each in found]


def add_rows(rows: Any, found: Sequence[VerifiedCertificate], *, explain: bool) -> None:
    """Say in a table whose certificates hold: of which accuracy, on what, until when."""
    for each in found:
        said = each.statement
        add(rows, "certified by", f"{said.issuer} ({each.authority})")
        for measure in said.accuracy:
            what = f"{measure.metric} of {measure.output}: {measure.value}"
            add(
                rows,
                "accuracy",
                f"{what} on {measure.rows} rows of {hexed(measure.dataset)}, against {measure.reference}",
            )
            if explain:
                add(rows, "measured by", measure.command)
        add(rows, "valid", f"{utc(said.not_before)} to {utc(said.not_after)}")
        add(rows, "scope", said.scope.text or "not said")
        add(rows, "revocation", each.remark())
        if explain:
            add(rows, "certificate", f"{hexed(said.serial)} of {said.subject}")
            others = len(said.identities) - len(each.identities)
            add(rows, "identities", f"{len(each.identities)} that the proof claims, {others} further ones")


def utc(seconds: int) -> str:
    """A time for people; the number where it is beyond the calendar."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OSError, OverflowError, ValueError):
        return str(seconds)
