"""What a verifier of signed runs brings: policies, roots, its nonce, the epochs it still accepts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vml.backends.types import TEE_ANCHORS, TEE_MIN_EPOCH, TEE_NONCE, TEE_NONCE_SENT_AT, TEE_POLICIES
from vml.claim import parse_bytes32

if TYPE_CHECKING:
    from vml.tee.anchors import TrustAnchors
    from vml.tee.appraisal import AppraisalPolicy


def tee_pins(
    policies: Sequence[str | os.PathLike[str] | bytes | AppraisalPolicy],
    *,
    anchors: TrustAnchors | None = None,
    nonce: bytes | str | None = None,
    nonce_sent_at: int | None = None,
    min_epoch: int = 0,
) -> dict[str, Any]:
    """Pins for `Environment`, with which signed runs (tee) are checked.

    Args:
        policies: accepted appraisal policies: files, policies, or ids ("0x…" or 32 bytes). Of an id the proof brings
            the text.
        anchors: accepted roots; None takes the vendors'.
        nonce: 32 bytes that you sent to the attester; "any" takes a key made for somebody else's; None is for policies
            that ask for none.
        nonce_sent_at: unix seconds at which you sent it: evidence that answers it is no older. Policies with a maximum
            age need it, but for Nitro, whose documents carry a clock.
        min_epoch: lowest epoch of a key that is accepted.

    Raises:
        ValueError: not such a file or id; a time without a nonce of your own.
        OSError: a file cannot be read.
    """
    from vml.tee.appraisal import AppraisalPolicy

    def read(item: str | os.PathLike[str] | bytes | AppraisalPolicy) -> bytes | AppraisalPolicy:
        if isinstance(item, bytes | AppraisalPolicy):
            return item
        if isinstance(item, str) and item[:2] in ("0x", "0X"):
            return parse_bytes32(item)
        return AppraisalPolicy.load(item)

    if nonce_sent_at is not None and not isinstance(nonce, bytes):
        raise ValueError("the time at which a nonce was sent is that of a nonce of your own")
    pins: dict[str, Any] = {TEE_POLICIES: tuple(map(read, policies)), TEE_MIN_EPOCH: min_epoch}
    if anchors is not None:
        pins[TEE_ANCHORS] = anchors
    if nonce is not None:
        pins[TEE_NONCE] = nonce
    if nonce_sent_at is not None:
        pins[TEE_NONCE_SENT_AT] = nonce_sent_at
    return pins
