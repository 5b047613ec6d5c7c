"""Signed runs of a small model, honest and forged, under a simulator's roots."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.backends.optimistic.bundles import CONTEXT, INPUTS, OTHER_INPUTS, model
from vml.backends.exact.specs import decode_specs
from vml.backends.exact.statement import Row, commit, public_section, read_public
from vml.backends.tee import TeeBackend
from vml.backends.tee.engines import EXACT, FLOAT
from vml.backends.tee.inside import Attestation, ReceiptKey
from vml.backends.tee.payload import SignedRun
from vml.backends.tee.simulated import simulated_key
from vml.backends.types import (
    TEE_ANCHORS,
    TEE_NONCE,
    TEE_POLICIES,
    Attesting,
    ClaimExpectation,
    Environment,
    Keys,
    SetupOptions,
    VerifiedClaim,
    Visibility,
)
from vml.claim import Claim
from vml.policy import Policy
from vml.proof import Proof
from vml.tee.binding import Receipt, public_key_of, sign_receipt
from vml.tee.files import write_json
from vml.tee_sim import anchors, matching_policy, simulate

__all__ = ["AT", "CONTEXT", "INPUTS", "KINDS", "NONCE", "OTHER_INPUTS", "SEED", "model"]

AT, SEED, NONCE = 1_800_000_000, "tee tests", b"\x5a" * 32
KINDS = ("sgx", "tdx", "snp", "nitro")


def attesting(kind: str = "tdx", **change: Any) -> Attesting:
    return replace(Attesting(simulate=kind, nonce=NONCE, seed=SEED, at=AT), **change)


def keys(where: Attesting | None = None) -> Keys:
    return TeeBackend().setup(model(), SetupOptions(attesting=where or attesting()))


@cache
def honest(kind: str = "tdx") -> Proof:
    return TeeBackend().prove(keys(attesting(kind)), INPUTS, CONTEXT, visibility=Visibility())


@cache
def other_run() -> Proof:
    """Another input's, by the same key."""
    return TeeBackend().prove(keys(), OTHER_INPUTS, CONTEXT, visibility=Visibility())


def receipt_key(kind: str = "tdx", **change: Any) -> tuple[ReceiptKey, Attestation]:
    where = attesting(kind, **change)
    assert where.nonce is not None
    return simulated_key(model().commitment, where, where.nonce)


def private_key(kind: str = "tdx") -> ec.EllipticCurvePrivateKey:
    """The simulated key itself: who knows the seed has it."""
    key: ec.EllipticCurvePrivateKey = receipt_key(kind)[0]._key
    return key


def mallorys_key(curve: type[ec.EllipticCurve] = ec.SECP256K1) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0xBAD, curve())


def decoded(proof: Proof) -> SignedRun:
    return SignedRun.decode(proof.payload, proof.scheme == FLOAT.scheme)


def identity_of(run: SignedRun) -> bytes:
    """Of what an exact run says it ran."""
    return EXACT.identity(b"", run.source, run.inputs, run.outputs)


def altered(proof: Proof, **change: Any) -> Proof:
    """The same envelope with other fields in the payload; the signature is as it was."""
    return replace(proof, payload=replace(decoded(proof), **change).encode())


def certified(proof: Proof, **change: Any) -> Proof:
    """Other fields in the certificate."""
    return altered(proof, certificate=replace(decoded(proof).certificate, **change))


def signed(proof: Proof, key: ec.EllipticCurvePrivateKey, **change: Any) -> Proof:
    """A fresh receipt by some key for what the envelope and its certificate say, with other fields where given."""
    run = decoded(proof)
    receipt: Receipt = replace(run.receipt(proof.claims[0].digest()), **change)
    signature = sign_receipt(receipt, run.certificate.algorithm, key)
    return altered(proof, sequence=receipt.sequence, issued_at=receipt.issued_at, signature=signature)


def attested(
    proof: Proof,
    key: ec.EllipticCurvePrivateKey,
    *,
    kind: str = "tdx",
    nonce: bytes = NONCE,
    seed: str = SEED,
    at: int = AT,
    measurements: dict[str, bytes] | None = None,
    fault: str | None = None,
    **change: Any,
) -> Proof:
    """The proof of somebody for whom the (simulated) hardware attests whatever certificate he likes."""
    run = decoded(proof)
    certificate = replace(run.certificate, public_key=public_key_of(key), **change)
    given = certificate.public_key if kind == "nitro" else None
    evidence = simulate(
        kind,
        report_data=certificate.digest() + nonce,
        seed=seed,
        at=at,
        measurements=measurements,
        fault=fault,
        public_key=given,
    )
    made = altered(proof, certificate=certificate, nonce=nonce, evidence=write_json(evidence))
    return signed(made, key)


def restated(proof: Proof, row: Row, context: bytes | None = None) -> Proof:
    """Claim and public section of other values, agreeing with each other; the payload is as it was."""
    run, old = decoded(proof), proof.claims[0]
    inputs, outputs = decode_specs(run.inputs), decode_specs(run.outputs)
    claim = Claim(old.model, commit(inputs, row.inputs), commit(outputs, row.outputs), context or old.context)
    return Proof(proof.scheme, (claim,), public_section(inputs, outputs, [row]), proof.payload)


def row_of(proof: Proof) -> Row:
    run = decoded(proof)
    (row,) = read_public(proof.public, proof.claims, decode_specs(run.inputs), decode_specs(run.outputs))
    return row


def pins(kind: str = "tdx", **change: Any) -> dict[str, Any]:
    """What a verifier accepts who sent the nonce and holds the policy; a value of None takes an entry out."""
    given = {TEE_POLICIES: (matching_policy(kind),), TEE_ANCHORS: anchors(SEED), TEE_NONCE: NONCE, **change}
    return {name: value for name, value in given.items() if value is not None}


def check(
    proof: Proof,
    *,
    kind: str = "tdx",
    now: int | None = AT,
    policy: Policy | None = None,
    held: dict[str, Any] | None = None,
    **expected: Any,
) -> VerifiedClaim:
    """Verify as the simulator's friend does."""
    wanted = {"model": frozenset({model().commitment}), "context": CONTEXT, **expected}
    rules = Policy.default().relaxed(allow_simulated=True) if policy is None else policy
    environment = Environment(now=now, pins=pins(kind) if held is None else held)
    return TeeBackend().verify(proof, ClaimExpectation(**wanted), rules, environment)
