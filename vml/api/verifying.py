"""Verification: numbered steps; it returns a verdict or raises."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vml.api.identity import accepted_models
from vml.api.models import ModelLike
from vml.api.outside import chain_view, held_model
from vml.api.pins import accepted_keys
from vml.backends import backend_of_scheme, get_backend
from vml.backends.types import PINNED_KEYS, ClaimExpectation, Environment, VerifiedClaim
from vml.claim import ZERO_CONTEXT
from vml.errors import ClaimMismatch, ProofRejected

if TYPE_CHECKING:
    from vml.policy import Policy
    from vml.proof import Proof


def verify(
    proof: Proof | bytes,
    *,
    model: ModelLike | bytes | frozenset[bytes],
    context: bytes = ZERO_CONTEXT,
    policy: Policy | None = None,
    input: Mapping[str, Any] | None = None,
    output: Mapping[str, Any] | None = None,
    salt: bytes | None = None,
    key: str | os.PathLike[str] | bytes | frozenset[bytes] | None = None,
    environment: Environment | None = None,
) -> VerifiedClaim:
    """Verify a proof, or raise; it never returns a verdict that was not earned.

    Args:
        proof: the proof, or its bytes.
        model: what it must be about: a 32-byte identity, several accepted ones, "0x…", a compiled folder (its
            commitment and the identities recorded there), an .onnx file, or a `Model`. A folder or a `Model` is run
            again where the backend asks for that (optimistic).
        context: 32 bytes the claim must be bound to; zero expects a proof that is replayable on purpose.
        policy: what is good enough; None takes `Policy.default()`, which refuses unsafe set-ups.
        input: arrays by name the proof must be about; None accepts any input.
        output: likewise.
        salt: 32 bytes that open a hidden input, needed with `input` where the input is private.
        key: the verifying key it must be checked with: its digest ("0x…", 32 bytes, or several accepted ones) or a
            folder that ``vml setup -o`` wrote. None takes what the policy, the compiled folder or its weights say,
            where the backend asks for that.
        environment: clock, chain, limits. Its `chain` is made of its `rpc` where the backend reads one.

    Returns:
        The verdict: what was proved, how strongly, and what it rests on.

    Raises:
        VerificationError: the proof does not verify (`MalformedProof`, `ClaimMismatch`, `ProofRejected`, …), or the
            policy does not accept it (`PolicyRejected`).
        BackendUnavailable: the software that checks this scheme is not installed.
        ValueError: the verifier's own arguments do not fit together.
    """
    from vml.policy import Policy
    from vml.proof import Proof

    policy = Policy.default() if policy is None else policy
    if salt is not None and input is None:
        raise ValueError("a salt opens a hidden input: give the input it belongs to, or nothing is compared")

    # step 1: one strict decoding
    decoded = Proof.from_bytes(proof) if isinstance(proof, bytes) else proof

    # step 2: the scheme names who checks it, never how well
    backend = get_backend(backend_of_scheme(decoded.scheme))

    # step 3: the backend checks every field of the claim against the payload and against what is expected
    expected = ClaimExpectation(
        model=model if isinstance(model, frozenset) else accepted_models(model, decoded),
        context=context,
        public_input=input,
        public_output=output,
        salt=salt,
    )
    environment = environment or Environment()
    keys = accepted_keys(model, decoded, key=key, policy=policy)
    if keys is not None:
        environment = replace(environment, pins={**environment.pins, PINNED_KEYS: keys})
    able = backend.capabilities()
    if environment.model is None:
        environment = replace(environment, model=held_model(model, able))
    if environment.chain is None and environment.rpc is not None and able.assurance == "economic":
        environment = replace(environment, chain=chain_view(environment.rpc))
    verdict = backend.verify(decoded, expected, policy, environment)

    # step 4: the verdict is about the claims that were asked for; a backend that forgets to look cannot hide it
    if verdict.claims != decoded.claims:
        raise ClaimMismatch("claims", "those of the envelope", "others")
    for claim in verdict.claims:
        if claim.model not in expected.model:
            raise ClaimMismatch("model", "an accepted identity", "0x" + claim.model.hex())
        if claim.context != expected.context:
            raise ClaimMismatch("context", "0x" + expected.context.hex(), "0x" + claim.context.hex())
    if keys is not None and verdict.vk_digest not in keys:
        got = "none" if verdict.vk_digest is None else "0x" + verdict.vk_digest.hex()
        raise ProofRejected("the verifying key", "one that this verifier pinned", got)

    # step 5: the policy accepts it
    policy.check(verdict)
    return verdict
