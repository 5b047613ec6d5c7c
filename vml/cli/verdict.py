"""A verdict in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vml.api.verdicts import MEANINGS, accepted, refused
from vml.cli.certified import add_rows
from vml.cli.output import add, headline, hexed, table

if TYPE_CHECKING:
    from rich.console import Console

    from vml.backends.types import VerifiedClaim
    from vml.certificates.verify import VerifiedCertificate

__all__ = ["accepted", "refused", "show"]

NOT_SHOWN = "that the model is good, or that its data were: only that it was run as claimed"
NOT_SHOWN_CERTIFIED = "that the authority is right about the model: only that it said so, and that the model was run"


def show(
    console: Console,
    verdict: VerifiedClaim,
    *,
    checked: Sequence[str],
    explain: bool,
    certificates: Sequence[VerifiedCertificate] = (),
) -> None:
    """Say that a proof verified, and what that means.

    Args:
        console: where.
        verdict: the verdict.
        checked: what the verifier itself compared, in plain words.
        explain: say everything.
        certificates: that hold for it.
    """
    headline(console, "verified", f"{verdict.backend}, {verdict.assurance}, {verdict.security_bits} bits")
    if not verdict.final:
        headline(console, "not final", "it may still be disputed; accepted because the policy says so", "yellow")
    if verdict.unsafe_setup:
        headline(console, "unsafe set-up", "whoever made it can forge this proof; accepted because allowed", "yellow")
    if verdict.simulated:
        headline(console, "simulated", "the evidence shows nothing; accepted because allowed", "yellow")
    rows = table("", "")
    for number, claim in enumerate(verdict.claims, 1):
        if len(verdict.claims) > 1:
            add(rows, "claim", f"{number} of {len(verdict.claims)}")
        for name, value in {**claim.to_json(), "digest": hexed(claim.digest())}.items():
            add(rows, name, value)
    if verdict.remarks:
        add(rows, "remarks", "\n".join(verdict.remarks))
    add_rows(rows, certificates, explain=explain)
    add(rows, "revealed", "\n".join(verdict.revealed) or "not said")
    if explain:
        add(rows, "assurance", MEANINGS[verdict.assurance])
        add(rows, "arithmetic", verdict.semantics)
        add(rows, "checked", "\n".join(checked))
        add(rows, "hidden", "\n".join(verdict.hidden) or "nothing")
        add(rows, "trusted", "\n".join(verdict.trusted) or "nobody")
        add(rows, "final", "yes" if verdict.final else "no, it may still be disputed")
        add(rows, "set-up", "none" if verdict.setup_id is None else hexed(verdict.setup_id))
        add(rows, "key digest", "none" if verdict.vk_digest is None else hexed(verdict.vk_digest))
        add(rows, "checked by", verdict.engine)
        add(rows, "not shown", NOT_SHOWN_CERTIFIED if certificates else NOT_SHOWN)
    console.print(rows)
