"""Verifies a signed run: evidence of hardware, the key that it names, and the key's receipt for the claim.

 1. The scheme is an engine's.
 2. There is one claim; the payload is a signed run, with evidence and a description of the runtime that can be read.
 3. The certificate, and what the engine's identity hashes, are of the claim's model, and that one is accepted.
 4. The public section says what the claim commits to.
 5. The claim is what the verifier expects.
 6. The certificate names an appraisal policy that the verifier holds or pinned by its id.
 7. The evidence is genuine at the given time, under the verifier's anchors; so is that of GPUs.
 8. The policy accepts it, and it answers the verifier's nonce; GPUs likewise.
 9. It carries this key certificate, with the nonce of the payload; the certificate and the GPUs name each other.
10. The key signed the receipt of this claim, in its epoch.
11. Key and receipt are within their time, and the epoch is one that the verifier still accepts.
12. The policy accepts the verdict.

Anchors, appraisal policies, nonce and time are the verifier's; nothing of the proof stands in for them. What is
signed is the claim's digest, so model, input, output and context are bound by the signature. docs/tee-backend.md.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from vml.backends.exact import statement
from vml.backends.tee.engines import Engine, engine_of
from vml.backends.tee.payload import NONCE, SignedRun, read_policy
from vml.backends.tee.scheme import CODE, NAME, PHYSICAL, SECURITY_BITS, SITE, UNATTACHED, VENDORS
from vml.backends.types import (
    ANY_NONCE,
    TEE_ANCHORS,
    TEE_MIN_EPOCH,
    TEE_NONCE,
    TEE_NONCE_SENT_AT,
    TEE_POLICIES,
    ClaimExpectation,
    Environment,
    VerifiedClaim,
)
from vml.errors import ClaimMismatch, MalformedProof, ProofRejected
from vml.keccak import keccak256
from vml.tee.anchors import TrustAnchors
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.appraise import MAX_SKEW_S, AttestationResult, appraise, forecast, soonest
from vml.tee.binding import require_bound, verify_receipt
from vml.tee.evidence import Evidence, Kind
from vml.tee.files import read_json
from vml.tee.gpus import gpu_nonce, require_gpus_bound
from vml.tee.reasons import Reason, rejected
from vml.tee.revocation import revocation
from vml.tee.verified import NvidiaClaims, Verified
from vml.tee.verify import verify_evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vml.policy import Policy
    from vml.proof import Proof


def verify(proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment) -> VerifiedClaim:
    """Check everything, or raise.

    Args:
        proof: strictly decoded envelope.
        expected: accepted identities, context, and commitments or values where the verifier has them.
        policy: what is good enough; whether simulated evidence is.
        environment: `now` is the time to judge for. Of the pins `TEE_POLICIES` is needed; `TEE_ANCHORS`, `TEE_NONCE`,
            `TEE_NONCE_SENT_AT` and `TEE_MIN_EPOCH` where the verifier has them.

    Returns:
        The verdict.

    Raises:
        MalformedProof, ClaimMismatch, ProofRejected, PolicyRejected: which step failed and how.
        EvidenceRejected: of evidence, key and receipt, with one code of `vml.tee.reasons.Reason`.
        BackendUnavailable: the extra ``tee`` is not installed.
        ValueError: the environment has no time, or a pin of another kind.
    """
    if environment.now is None:
        raise ValueError("evidence is judged for a time: give Environment(now=…)")
    at, nonce = environment.now, _pinned_nonce(environment)

    # step 1: the scheme
    engine = engine_of(proof.scheme)

    # step 2: one claim, one signed run
    if len(proof.claims) != 1:
        raise MalformedProof(f"a receipt is for one claim, not {len(proof.claims)}")
    (claim,) = proof.claims
    run = SignedRun.decode(proof.payload, engine.described)
    evidence, gpu_evidence = read_json(run.evidence), [_gpu(data) for data in run.gpus]
    described = engine.lines(run.description)

    # step 3: the model
    if run.certificate.model != claim.model:
        raise ClaimMismatch("model", _hex(run.certificate.model), _hex(claim.model))
    if (found := engine.identity(run.description, run.source, run.inputs, run.outputs)) != claim.model:
        raise ClaimMismatch("model", _hex(found), _hex(claim.model))
    inputs, outputs = engine.decode_specs(run.inputs), engine.decode_specs(run.outputs)

    # step 4: input and output
    rows = statement.read_public(proof.public, proof.claims, inputs, outputs, engine.form)

    # step 5: what is expected
    statement.expect(expected, proof.claims, rows, inputs, outputs, engine.form)

    # step 6: the appraisal policy
    rules = accepted_policy(run, environment)

    # step 7: genuine
    anchors = environment.pins.get(TEE_ANCHORS, TrustAnchors.vendors())
    verified = verify_evidence(evidence, anchors, at)
    gpus = [_nvidia(verify_evidence(found, anchors, at)) for found in gpu_evidence]

    # step 8: acceptable
    asked = nonce if isinstance(nonce, bytes) else run.nonce if nonce == ANY_NONCE else None
    # Of somebody else's nonce nobody knows when it was sent.
    sent_at = environment.pins.get(TEE_NONCE_SENT_AT) if isinstance(nonce, bytes) else None
    if asked is None and rules.require_nonce:
        raise rejected(
            Reason.NONCE_MISSING,
            "the policy asks for the nonce that you sent (--tee-nonce 0x…); --tee-nonce any takes a key "
            "that was made for somebody else's",
        )
    result = appraise(verified, rules, at, asked, nonce_issued_at=sent_at)
    challenge = gpu_nonce(run.certificate.public_key, run.nonce)
    accepted = [appraise(gpu, rules, at, challenge, nonce_issued_at=sent_at) for gpu in gpus]

    # step 9: the key that the evidence names
    require_bound(run.certificate, verified)
    if verified.nonce != run.nonce:
        raise rejected(Reason.NONCE_MISMATCH, "the evidence answers another nonce than the one that is shown")
    require_gpus_bound(run.certificate, gpus, run.nonce)
    if [gpu.evidence_id for gpu in gpus] != sorted(gpu.evidence_id for gpu in gpus):
        raise rejected(Reason.GPU_BINDING, "the evidence of GPUs is not in ascending order of its ids")

    # step 10: the receipt
    verify_receipt(run.receipt(claim.digest()), run.signature, run.certificate)

    # step 11: its time
    require_current(run, verified, at, environment.pins.get(TEE_MIN_EPOCH, 0))

    verdict = VerifiedClaim(
        claims=proof.claims,
        backend=NAME,
        scheme=engine.scheme,
        assurance="hardware",
        semantics=engine.semantics,
        security_bits=SECURITY_BITS,
        revealed=engine.revealed,
        trusted=_trusted(verified, gpus, engine),
        vk_digest=keccak256(run.description) if engine.described else None,
        engine=engine.scheme,
        simulated=any(found.simulated for found in (verified, *gpus)),
        remarks=(
            *_remarks(run, result, nonce, soonest((result, *accepted))),
            *described,
            *_revocations(result, *accepted),
            *map(_gpu_remark, accepted),
        ),
    )
    # step 12: the policy
    policy.check(verdict)
    return verdict


def accepted_policy(run: SignedRun, environment: Environment) -> AppraisalPolicy:
    """The appraisal policy that the certificate names, if the verifier accepts it.

    The proof's own text serves where the verifier pinned nothing but the id; it has to hash to it.

    Raises:
        ProofRejected: another policy than those that are accepted, or a text that is not the policy.
        MalformedProof: a text that is pinned and no policy.
    """
    pinned = tuple(environment.pins.get(TEE_POLICIES, ()))
    held = {item.policy_id: item for item in pinned if isinstance(item, AppraisalPolicy)}
    ids = held.keys() | {item for item in pinned if isinstance(item, bytes)}
    wanted = run.certificate.policy_id
    if wanted not in ids:
        names = ", ".join(sorted(map(_hex, ids))) or "one that you hold (--tee-policy)"
        raise ProofRejected("6: the appraisal policy", names, _hex(wanted))
    if (found := hashlib.sha256(run.policy).digest()) != wanted:
        raise ProofRejected("6: the text of the appraisal policy", _hex(wanted), _hex(found))
    return held[wanted] if wanted in held else read_policy(run.policy)


def require_current(run: SignedRun, verified: Verified, at: int, min_epoch: int) -> None:
    """Check that key and receipt are within their time. Returns nothing or raises.

    Args:
        run: the key's certificate and receipt.
        verified: what the evidence says.
        at: unix seconds for which to judge.
        min_epoch: lowest epoch that the verifier accepts.

    Raises:
        EvidenceRejected: KEY_EXPIRED, EPOCH_ROTATED, RECEIPT_TIME.
    """
    certificate, begins = run.certificate, verified.window.not_before
    if at > certificate.not_after:
        raise rejected(Reason.KEY_EXPIRED, f"the key ended at unix time {certificate.not_after}")
    if certificate.epoch < min_epoch:
        raise rejected(Reason.EPOCH_ROTATED, f"epoch {certificate.epoch}, at least {min_epoch}")
    if run.issued_at > at + MAX_SKEW_S:
        raise rejected(Reason.RECEIPT_TIME, f"issued at unix time {run.issued_at}, which is to come")
    if begins is not None and run.issued_at < begins - MAX_SKEW_S:
        what = verified.window.opened_by
        raise rejected(Reason.RECEIPT_TIME, f"issued at unix time {run.issued_at}, {what} begins at {begins}")


def _pinned_nonce(environment: Environment) -> bytes | str | None:
    """The nonce that the verifier sent, `ANY_NONCE`, or None.

    Raises:
        ValueError: something else.
    """
    nonce: bytes | str | None = environment.pins.get(TEE_NONCE)
    if nonce is None or nonce == ANY_NONCE or (isinstance(nonce, bytes) and len(nonce) == NONCE):
        return nonce
    raise ValueError(f"a nonce is {NONCE} bytes, or {ANY_NONCE!r}")


def _gpu(data: bytes) -> Evidence:
    """Evidence of a GPU.

    Raises:
        MalformedProof: it cannot be read, or is of something else.
    """
    evidence = read_json(data)
    if evidence.kind != Kind.NVIDIA:
        raise MalformedProof(f"the evidence of a GPU is of the kind {evidence.kind}")
    return evidence


def _nvidia(verified: Verified) -> NvidiaClaims:
    """The claims of what `_gpu` let through."""
    assert isinstance(verified, NvidiaClaims)
    return verified


def _trusted(verified: Verified, gpus: Sequence[NvidiaClaims], engine: Engine) -> tuple[str, ...]:
    """What had to be trusted."""
    if any(found.simulated for found in (verified, *gpus)):
        return ("nobody: the evidence is simulated and shows nothing", SITE, CODE, *engine.trusted)
    makers = (VENDORS[verified.kind], *([VENDORS[Kind.NVIDIA], UNATTACHED] if gpus else []))
    return (*makers, SITE, CODE, *engine.trusted)


def _gpu_remark(result: AttestationResult) -> str:
    """One GPU that was accepted."""
    claims, platform = result.claims, result.claims.platform_id
    serial = "" if platform is None else _hex(platform)
    return f"gpu: {_nvidia(claims).product}, {result.image}, {serial}, {_hex(result.evidence_id)}"


def _remarks(
    run: SignedRun, result: AttestationResult, nonce: bytes | str | None, first: AttestationResult
) -> tuple[str, ...]:
    """What else the verifier found; `first` is the result that ends first."""
    certificate, platform = run.certificate, result.claims.platform_id
    words: dict[bytes | str | None, str] = {
        None: "not asked for",
        ANY_NONCE: "somebody else's, so the evidence is as old as the key may be",
    }
    return (
        PHYSICAL,
        f"evidence: {result.claims.kind}, {result.image}, {_hex(result.evidence_id)}",
        f"platform: {'not named' if platform is None else _hex(platform)}",
        f"appraisal policy: {_hex(result.policy_id)}",
        f"nonce: {words.get(nonce, 'yours, answered')}",
        f"key: {_hex(certificate.key_id)}, epoch {certificate.epoch}, until unix time {certificate.not_after}",
        f"receipt: number {run.sequence}, issued at unix time {run.issued_at} by the clock inside",
        forecast(first, first.at),
    )


def _revocations(*results: AttestationResult) -> tuple[str, ...]:
    """Whose revocation lists were looked at, and where none were; once for all GPUs."""
    return tuple(dict.fromkeys(f"revocation, {result.claims.kind}: {revocation(result.claims)}" for result in results))


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
