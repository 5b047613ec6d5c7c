"""A verdict as JSON: the one form in which the command line and servers tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vml.backends.types import VerifiedClaim

MEANINGS = {
    "cryptographic": "a proof: a false claim would have to break the cryptography named below",
    "economic": "a bond: nobody disputed the claim within its window",
    "hardware": "an attested key: a processor says it ran this code",
    "recomputed": "a second run: this machine held the model, ran it on the same input, and got the same output",
}


def accepted(verdict: VerifiedClaim, certificates: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The JSON object of a proof that verified, and of the certificates that hold for it."""
    return {
        "verified": True,
        "backend": verdict.backend,
        "scheme": verdict.scheme,
        "assurance": verdict.assurance,
        "semantics": verdict.semantics,
        "claims": [{**claim.to_json(), "digest": _hexed(claim.digest())} for claim in verdict.claims],
        "security_bits": verdict.security_bits,
        "hidden": list(verdict.hidden),
        "revealed": list(verdict.revealed),
        "trusted": list(verdict.trusted),
        "simulated": verdict.simulated,
        "unsafe_setup": verdict.unsafe_setup,
        "final": verdict.final,
        "setup_id": None if verdict.setup_id is None else _hexed(verdict.setup_id),
        "vk_digest": None if verdict.vk_digest is None else _hexed(verdict.vk_digest),
        "engine": verdict.engine,
        "remarks": list(verdict.remarks),
        "certificates": list(certificates),
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
        "certificates": [],
        "error": error,
    }


def explained(verdict: VerifiedClaim) -> list[str]:
    """What a verdict means, in plain sentences."""
    lines = [f"Verified by {verdict.engine}: {MEANINGS[verdict.assurance]}."]
    for number, claim in enumerate(verdict.claims, 1):
        which = "The claim" if len(verdict.claims) == 1 else f"Claim {number}"
        lines.append(
            f"{which} says that the model {_hexed(claim.model)}, on an input with the commitment "
            f"{_hexed(claim.input)}, gave an output with the commitment {_hexed(claim.output)}."
        )
        if claim.context == bytes(32):
            lines.append(f"{which} is bound to no use: anybody may show it again, for anything.")
        else:
            lines.append(f"{which} is bound to the one use {_hexed(claim.context)}.")
    lines.append(f"The arithmetic is {verdict.semantics}; security is about {verdict.security_bits} bits.")
    lines.append("Hidden: " + ("; ".join(verdict.hidden) or "nothing") + ".")
    if verdict.revealed:
        lines.append("Whoever holds the proof learns: " + "; ".join(verdict.revealed) + ".")
    lines.append("Trusted: " + ("; ".join(verdict.trusted) or "nobody") + ".")
    if not verdict.final:
        lines.append("It is not final: it may still be disputed.")
    if verdict.unsafe_setup:
        lines.append("The set-up is unsafe: whoever made it can forge this proof.")
    if verdict.simulated:
        lines.append("The evidence is simulated: it shows nothing.")
    lines += [f"Also: {remark}." for remark in verdict.remarks]
    lines.append("Not shown: that the model is good, or that its data were; only that it was run as claimed.")
    return lines


def _hexed(data: bytes) -> str:
    return "0x" + data.hex()
