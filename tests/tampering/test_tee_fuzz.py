"""Hostile bytes raise a `VerificationError` and nothing else, wherever in a signed run they are.

Edits of the envelope's bytes, of the payload's, of policy and evidence, of values after decoding, and noise. An edited
proof that is accepted must be the honest one, but for the white space between the lines of certificates, which
vendors' formats leave open: the evidence is the same then, and so is its id.
"""

from __future__ import annotations

import random
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backends.tee.signed_runs import KINDS, altered, certified, check, decoded, honest, model, other_run, pins
from tests.tampering.test_sumcheck_fuzz import edited
from vml.backends.tee.attester import read_request, write_request
from vml.backends.tee.engines import exact_program
from vml.backends.tee.payload import SignedRun, read_policy
from vml.backends.types import ANY_NONCE, TEE_NONCE, VerifiedClaim
from vml.errors import MalformedProof, VerificationError
from vml.proof import Proof
from vml.tee.binding import KeyCertificate
from vml.tee.files import read_json

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**64 - 1)
# Cases of each kind in the slow suite: 100 000 in all.
MANY = {"envelope": 20_000, "payload": 20_000, "evidence": 25_000, "policy": 10_000, "values": 10_000, "noise": 5000}
MANY["request"] = 10_000


def verdict_on(proof: Proof, kind: str) -> VerifiedClaim:
    told: dict[str, Any] = {"model": frozenset({model().commitment}), "context": proof.claims[0].context}
    return check(proof, kind=kind, held=pins(kind, **{TEE_NONCE: ANY_NONCE}), **told)


def judge(proof: Proof, kind: str = "tdx") -> None:
    """Refused, or the honest proof; anything but a refusal of the family is a failure."""
    try:
        verdict = verdict_on(proof, kind)
    except VerificationError:
        return
    # The verdict names the evidence by its id, the key, and the receipt.
    assert verdict == verdict_on(honest(kind), kind)
    assert proof.public == honest(kind).public
    run, was = decoded(proof), decoded(honest(kind))
    assert replace(run, evidence=b"") == replace(was, evidence=b"")
    assert spelled(run.evidence) == spelled(was.evidence)


def spelled(evidence: bytes) -> dict[str, Any]:
    """The evidence without the white space in quote and chains."""

    def plain(item: Any) -> Any:
        if isinstance(item, dict):
            return {name: plain(part) for name, part in item.items()}
        return b"".join(item.split()) if isinstance(item, bytes) else item

    return {name: plain(part) for name, part in asdict(read_json(evidence)).items()}


def envelope_case(seed: int) -> None:
    rng, whole = random.Random(seed), honest().to_bytes()
    data = edited(whole, rng, other_run().to_bytes())
    try:
        proof = Proof.from_bytes(data)
    except MalformedProof:
        return
    judge(proof)


def payload_case(seed: int) -> None:
    rng = random.Random(seed)
    kind = rng.choice(KINDS)
    payload = edited(honest(kind).payload, rng, other_run().payload)
    judge(replace(honest(kind), payload=payload), kind)


def evidence_case(seed: int) -> None:
    rng = random.Random(seed)
    kind = rng.choice(KINDS)
    was = decoded(honest(kind)).evidence
    evidence = edited(was, rng, decoded(honest(rng.choice(KINDS))).evidence)
    judge(altered(honest(kind), evidence=evidence), kind)


def policy_case(seed: int) -> None:
    """The reader of policies alone: in a proof their hash stands before it."""
    rng = random.Random(seed)
    data = edited(decoded(honest(rng.choice(KINDS))).policy, rng, decoded(honest(rng.choice(KINDS))).policy)
    try:
        policy = read_policy(data)
    except MalformedProof:
        return
    assert policy.canonical() == data


def values_case(seed: int) -> None:
    """Fields of the decoded run, encoded again: canonical, of the right sizes, and wrong."""
    rng, run = random.Random(seed), decoded(honest())
    inner = rng.random() < 0.5
    name = rng.choice([item.name for item in fields(KeyCertificate if inner else SignedRun)])
    old = getattr(run.certificate if inner else run, name)
    if name in ("certificate", "gpus", "description"):  # there are none: tests/tampering/test_tee_float_fuzz.py
        return
    new: Any = rng.getrandbits(rng.choice((1, 8, 64))) if isinstance(old, int) else rng.randbytes(len(old))
    try:
        forged = certified(honest(), **{name: new}) if inner else altered(honest(), **{name: new})
    except ValueError:
        return
    judge(forged)


def noise_case(seed: int) -> None:
    rng = random.Random(seed)
    payload = rng.randbytes(rng.choice((0, 1, 64, 288, 289, 290, 305, 306, 400)))
    with pytest.raises(VerificationError):
        verdict_on(replace(honest(), payload=payload), "tdx")


def request_case(seed: int) -> None:
    """What an attester reads from strangers."""
    rng, program = random.Random(seed), exact_program(model())
    codes = {spec.name: values for spec, values in zip(program.inputs, _zeros(), strict=True)}
    was = write_request(program, codes, bytes(32), rng.choice((None, b"\1" * 32)))
    data = edited(was, rng, was)
    try:
        found, context, nonce = read_request(data, program)
    except MalformedProof:
        return
    assert write_request(program, found, context, nonce) == data


def _zeros() -> list[Any]:
    import numpy as np

    return [np.zeros(spec.shape, spec.header.dtype) for spec in model().graph.inputs]


CASES = {
    "envelope": envelope_case,
    "payload": payload_case,
    "evidence": evidence_case,
    "policy": policy_case,
    "values": values_case,
    "noise": noise_case,
    "request": request_case,
}


@pytest.mark.parametrize("kind", CASES)
@FEW
@given(seed=SEEDS)
def test_edited(kind: str, seed: int) -> None:
    CASES[kind](seed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", CASES)
def test_many_edited(kind: str) -> None:
    for seed in range(MANY[kind]):
        CASES[kind](seed)


def test_the_slow_suite_is_large_enough() -> None:
    assert sum(MANY.values()) >= 100_000
    assert MANY.keys() == CASES.keys()
