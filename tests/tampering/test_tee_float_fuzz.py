"""Hostile bytes in float runs, in descriptions and specs, and in the evidence of GPUs: a refusal and nothing else.

As test_tee_fuzz.py does for runs of the exact model; what that shares is fuzzed there. An edited proof that is accepted
must be the honest one, but for the white space that evidence has room for.
"""

from __future__ import annotations

import random
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backends.tee import float_runs, gpu_runs
from tests.backends.tee.float_runs import honest, loaded, other_run
from tests.backends.tee.signed_runs import altered, certified, decoded, pins
from tests.tampering.test_sumcheck_fuzz import edited
from vml.backends.tee.attester import read_about, read_request, write_about, write_request
from vml.backends.tee.floats import Runtime, decode_specs, encode_specs
from vml.backends.tee.payload import SignedRun
from vml.backends.types import ANY_NONCE, TEE_ANCHORS, TEE_NONCE, TEE_POLICIES, VerifiedClaim
from vml.errors import MalformedProof, ProvingError, VerificationError
from vml.proof import Proof
from vml.tee.binding import KeyCertificate

FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**64 - 1)
# Cases of each kind in the slow suite.
MANY = {"envelope": 10_000, "payload": 10_000, "values": 5000, "gpus": 5000}
MANY |= {"description": 40_000, "specs": 40_000, "request": 10_000, "about": 10_000}


def verdict_on(proof: Proof, gpus: bool) -> VerifiedClaim:
    told: dict[str, Any] = {"context": proof.claims[0].context}
    if not gpus:
        return float_runs.check(proof, held=pins(**{TEE_NONCE: ANY_NONCE}), **told)
    held = pins(**{TEE_POLICIES: (gpu_runs.policy(),), TEE_ANCHORS: gpu_runs.ROOTS, TEE_NONCE: ANY_NONCE})
    return gpu_runs.check(proof, held=held, **told)


def judge(proof: Proof, was: Proof, gpus: bool = False) -> None:
    """Refused, or the honest proof."""
    try:
        verdict = verdict_on(proof, gpus)
    except VerificationError:
        return
    assert verdict == verdict_on(was, gpus)
    assert proof.public == was.public
    assert replace(decoded(proof), evidence=b"", gpus=was_gpus(proof)) == replace(
        decoded(was), evidence=b"", gpus=was_gpus(was)
    )


def was_gpus(proof: Proof) -> tuple[bytes, ...]:
    """As many as there are, whatever white space is in them; their ids stand in the verdict."""
    return tuple(b"" for _ in decoded(proof).gpus)


def envelope_case(seed: int) -> None:
    rng = random.Random(seed)
    data = edited(honest().to_bytes(), rng, other_run().to_bytes())
    try:
        proof = Proof.from_bytes(data)
    except MalformedProof:
        return
    judge(proof, honest())


def payload_case(seed: int) -> None:
    rng = random.Random(seed)
    judge(replace(honest(), payload=edited(honest().payload, rng, other_run().payload)), honest())


def values_case(seed: int) -> None:
    """Fields of the decoded run, encoded again."""
    rng, run = random.Random(seed), decoded(honest())
    inner = rng.random() < 0.3
    name = rng.choice([item.name for item in fields(KeyCertificate if inner else SignedRun)])
    old = getattr(run.certificate if inner else run, name)
    if name in ("certificate", "gpus"):
        return
    new: Any = rng.getrandbits(rng.choice((1, 8, 64))) if isinstance(old, int) else rng.randbytes(len(old))
    try:
        forged = certified(honest(), **{name: new}) if inner else altered(honest(), **{name: new})
    except ValueError:
        return
    judge(forged, honest())


def gpus_case(seed: int) -> None:
    rng, was = random.Random(seed), gpu_runs.honest("float")
    run = decoded(was)
    if rng.random() < 0.5:
        judge(gpu_runs.showing(was, edited(run.gpus[0], rng, run.evidence)), was, True)
        return
    start = was.payload.index(run.gpus[0]) - 37  # the digest, the count, a length
    tail = edited(was.payload[start:], rng, was.payload[start:])
    judge(replace(was, payload=was.payload[:start] + tail), was, True)


def description_case(seed: int) -> None:
    rng, was = random.Random(seed), loaded().program.description
    data = edited(was, rng, was)
    try:
        found = Runtime.decode(data)
    except MalformedProof:
        return
    assert found.encode() == data
    assert all(line.isprintable() for line in found.lines())


def specs_case(seed: int) -> None:
    rng, was = random.Random(seed), decoded(honest())
    data = edited(was.inputs, rng, was.outputs)
    try:
        found = decode_specs(data)
    except MalformedProof:
        return
    assert encode_specs(found) == data


def request_case(seed: int) -> None:
    """What an attester reads from strangers."""
    import numpy as np

    rng, program = random.Random(seed), loaded().program
    inputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in program.inputs}
    was = write_request(program, inputs, bytes(32), rng.choice((None, b"\1" * 32)))
    data = edited(was, rng, was)
    try:
        found, context, nonce = read_request(data, program)
    except MalformedProof:
        return
    assert write_request(program, found, context, nonce) == data


def about_case(seed: int) -> None:
    """What a client reads from an attester."""
    rng, was = random.Random(seed), write_about(loaded().program)
    try:
        engine, model, description = read_about(edited(was, rng, was))
    except ProvingError:
        return
    assert engine == "float"
    assert len(model) == 32
    assert Runtime.decode(description).encode() == description


CASES = {
    "envelope": envelope_case,
    "payload": payload_case,
    "values": values_case,
    "gpus": gpus_case,
    "description": description_case,
    "specs": specs_case,
    "request": request_case,
    "about": about_case,
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
