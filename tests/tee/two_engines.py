"""One piece of evidence, two engines: what both say, under any alteration."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from vml.errors import VerificationError
from vml.tee import DcapCollateral, Evidence, TrustAnchors, verify_evidence
from vml.tee.dcap.second import Opinion, disagreement, second_opinion


def opinions(evidence: Evidence, anchors: TrustAnchors, at: int, root: bytes | None) -> tuple[Any, Opinion]:
    try:
        found: Any = verify_evidence(evidence, anchors, at)
    except VerificationError as error:
        found = error
    return found, second_opinion(evidence, at, root)


def root_in(data: bytes) -> int:
    """Where in a quote the root certificate begins. The second engine has its own and does not look at it."""
    return data.rindex(b"-----BEGIN")


def altered(evidence: Evidence, rng: random.Random) -> Evidence:
    """One bit of the quote or of its collateral changed."""

    def change(data: bytes) -> bytes:
        at = rng.randrange(root_in(data) if data is evidence.data else len(data))
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]

    collateral = evidence.collateral
    assert isinstance(collateral, DcapCollateral)
    if rng.random() < 0.5:
        return replace(evidence, data=change(evidence.data))
    name = rng.choice(["tcb_info", "tcb_info_signature", "qe_identity", "qe_identity_signature", "pck_crl", "root_crl"])
    made = change(getattr(collateral, name))
    try:
        made.decode() if name in ("tcb_info", "qe_identity") else b""
    except UnicodeDecodeError:
        return replace(evidence, data=change(evidence.data))
    return replace(evidence, collateral=replace(collateral, **{name: made}))


def check_altered(
    evidence: Evidence, anchors: TrustAnchors, at: int, root: bytes | None, count: int, seed: int
) -> None:
    rng = random.Random(seed)
    for number in range(count):
        found, opinion = opinions(altered(evidence, rng), anchors, at, root)
        assert disagreement(found, opinion) == "", number
