"""A verdict as JSON and in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vml.cli.output import add, headline, hexed, table

if TYPE_CHECKING:
    from rich.console import Console

    from vml.backends.types import VerifiedClaim

MEANINGS = {
    "cryptographic": "a proof: a false claim would have to break the cryptography named below",
    "economic": "a bond: nobody disputed the claim within its window",
    "hardware": "an attested key: a processor says it ran this code",
    "recomputed": "a second run: this machine held the model, ran it on the same input, and got the same output",
}


def accepted(verdict: VerifiedClaim) -> dict[str, Any]:
    """The JSON object of a proof that verified."""
    return {
        "verified": True,
        "backend": verdict.backend,
        "scheme": verdict.scheme,
        "assurance": verdict.assurance,
        "semantics": verdict.semantics,
        "claims": [{**claim.to_json(), "digest": hexed(claim.digest())} for claim in verdict.claims],
        "security_bits": verdict.security_bits,
        "hidden": list(verdict.hidden),
        "revealed": list(verdict.revealed),
        "trusted": list(verdict.trusted),
        "simulated": verdict.simulated,
        "unsafe_setup": verdict.unsafe_setup,
        "final": verdict.final,
        "setup_id": None if verdict.setup_id is None else hexed(verdict.setup_id),
        "vk_digest": None if verdict.vk_digest is None else hexed(verdict.vk_digest),
        "engine": verdict.engine,
        "remarks": list(verdict.remarks),
    }


def refused(error: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of a proof that did not verify: the same keys, and nothing the proof says about itself."""
    return {
        "verified": False,
        "backend": None,
        "scheme": None,
        "assurance": None,
        "semantics": None,
        "claims": [],
        "security_bits": None,
        "hidden": [],
        "revealed": [],
        "trusted": [],
        "simulated": None,
        "unsafe_setup": None,
        "final": None,
        "setup_id": None,
        "vk_digest": None,
        "engine": None,
        "remarks": [],
        "error": error,
    }


def show(console: Console, verdict: VerifiedClaim, *, checked: Sequence[str], explain: bool) -> None:
    """Say that a proof verified, and what that means.

    Args:
        console: where.
        verdict: the verdict.
        checked: what the verifier itself compared, in plain words.
        explain: say everything.
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
        add(rows, "not shown", "that the model is good, or that its data were: only that it was run as claimed")
    console.print(rows)
