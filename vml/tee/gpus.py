"""GPUs beside an attested key: each half names the other, so that neither can be swapped.

The key is made first. Every GPU then answers a nonce that only this key and this verifier's nonce give::

    SPDM nonce = SHA-256("vml/gpu/v1" || public key || nonce)

and the digest of what they answered goes into the key certificate, as entry 7, before the processor attests it::

    digest = SHA-256("vml/gpu-evidence/v1" || evidence id of each GPU, in ascending order)

Evidence ids (`Verified.evidence_id`) leave out signatures, which anybody can write in a second form.

What this shows: the measured code held this key and chose these GPUs' answers. What it does not: that a GPU is attached
to that processor. A report can be fetched from a GPU elsewhere, and nothing in it would tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from vml.tee.binding import KeyCertificate
from vml.tee.reasons import Reason, rejected
from vml.tee.verified import NvidiaClaims

NONCE_TAG = b"vml/gpu/v1"
EVIDENCE_TAG = b"vml/gpu-evidence/v1"


def gpu_nonce(public_key: bytes, nonce: bytes) -> bytes:
    """The 32 bytes that GPUs have to answer.

    Args:
        public_key: 64 bytes, of the key certificate.
        nonce: 32 bytes, the verifier's.

    Raises:
        ValueError: another size.
    """
    if len(public_key) != 64 or len(nonce) != 32:
        raise ValueError("a public key has 64 bytes and a nonce 32")
    return hashlib.sha256(NONCE_TAG + public_key + nonce).digest()


def gpus_digest(evidence_ids: Iterable[bytes]) -> bytes:
    """The 32 bytes that a key certificate holds for the GPUs with these evidence ids, at least one, 32 bytes each.

    Raises:
        ValueError: none, one twice, or another size.
    """
    ids = sorted(evidence_ids)
    if not ids or len(set(ids)) != len(ids) or any(len(found) != 32 for found in ids):
        raise ValueError("the evidence ids of GPUs: at least one, each once, 32 bytes")
    return hashlib.sha256(EVIDENCE_TAG + b"".join(ids)).digest()


def require_gpus_bound(certificate: KeyCertificate, gpus: Sequence[NvidiaClaims], nonce: bytes) -> None:
    """Check that a key and GPUs name each other. Returns nothing or raises.

    That the processor's evidence carries the certificate is `vml.tee.binding.require_bound`'s business.

    Args:
        certificate: of the key.
        gpus: what genuine evidence of them says; none where the certificate names none.
        nonce: 32 bytes, the verifier's.

    Raises:
        EvidenceRejected: GPU_BINDING; KEY_OUTLIVES_EVIDENCE where the key would sign after something that a GPU's
            evidence rests on ends.
    """
    # step 1: the certificate names these GPUs, each once.
    if len({gpu.device_id for gpu in gpus}) != len(gpus):
        raise rejected(Reason.GPU_BINDING, "one GPU counts twice")
    expected = gpus_digest(gpu.evidence_id for gpu in gpus) if gpus else None
    if certificate.gpus != expected:
        raise rejected(Reason.GPU_BINDING, "the key certificate names other GPU evidence")
    # step 2: they answered this key and this verifier.
    if any(gpu.spdm_nonce != gpu_nonce(certificate.public_key, nonce) for gpu in gpus):
        raise rejected(Reason.GPU_BINDING, "a GPU answered another nonce")
    # step 3: the key does not outlive what they rest on.
    for gpu in gpus:
        if gpu.not_after is not None and certificate.not_after > gpu.not_after:
            end = f"{gpu.limited_by} of a GPU ends at unix time {gpu.not_after}"
            raise rejected(Reason.KEY_OUTLIVES_EVIDENCE, f"the key at {certificate.not_after}, {end}")
