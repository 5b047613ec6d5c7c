"""Hostile bytes raise a `VerificationError` and nothing else, wherever in a bundle they are.

Edits of the envelope's bytes, of the payload's bytes, of values after decoding, and noise. An edited bundle that is
accepted must be the honest one.
"""

from __future__ import annotations

import random
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backends.optimistic.bundles import FakeChain, bundle, check, decoded, model
from tests.tampering.test_sumcheck_fuzz import edited
from vml.backends.exact.specs import decode_specs
from vml.backends.optimistic.payload import Bundle
from vml.errors import MalformedProof, VerificationError
from vml.model.graph import encode_specs
from vml.proof import Proof

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**64 - 1)
# Cases of each kind in the slow suite: 100 000 in all.
MANY = {"envelope": 30_000, "payload": 30_000, "values": 10_000, "specs": 20_000, "noise": 10_000}


def judge(proof: Proof) -> bool:
    """Whether it is accepted, by whatever decides; anything but a refusal of the family is a failure."""
    accepted = set()
    for held, chain in ((model(), None), (None, FakeChain()), (None, None)):
        told: dict[str, Any] = {"model": frozenset({model().commitment}), "context": proof.claims[0].context}
        try:
            check(proof, held=held, chain=chain, **told)
        except VerificationError:
            accepted.add(False)
        else:
            accepted.add(True)
    return True in accepted


def envelope_case(seed: int) -> None:
    rng, honest = random.Random(seed), bundle().to_bytes()
    data = edited(honest, rng, bundle("unsigned").to_bytes())
    try:
        proof = Proof.from_bytes(data)
    except MalformedProof:
        return
    assert not judge(proof) or data == honest


def payload_case(seed: int) -> None:
    rng, honest = random.Random(seed), bundle()
    payload = edited(honest.payload, rng, bundle("unsigned").payload)
    # Without its signature an honest bundle is still an honest one.
    honest_ones = {honest.payload, bundle("unsigned").payload}
    assert not judge(replace(honest, payload=payload)) or payload in honest_ones


def values_case(seed: int) -> None:
    """Fields of the decoded bundle, encoded again: canonical, of the right sizes, and wrong."""
    rng, honest = random.Random(seed), decoded(bundle())
    name = rng.choice([item.name for item in fields(Bundle)])
    old = getattr(honest, name)
    new: Any = rng.getrandbits(rng.choice((1, 8, 256))) if isinstance(old, int) else rng.randbytes(len(old))
    try:
        forged = replace(honest, **{name: new})
    except ValueError:
        return
    assert not judge(replace(bundle(), payload=forged.encode())) or forged == honest


def specs_case(seed: int) -> None:
    """The decoder of specs alone."""
    rng, honest = random.Random(seed), decoded(bundle())
    data = edited(honest.inputs, rng, honest.outputs)
    try:
        specs = decode_specs(data)
    except MalformedProof:
        return
    assert encode_specs(specs) == data


def noise_case(seed: int) -> None:
    rng = random.Random(seed)
    payload = rng.randbytes(rng.choice((0, 1, 31, 32, 231, 232, 233, 240, 241, 400)))
    assert not judge(replace(bundle(), payload=payload))


KINDS = {
    "envelope": envelope_case,
    "payload": payload_case,
    "values": values_case,
    "specs": specs_case,
    "noise": noise_case,
}


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(seed=SEEDS)
def test_edited(kind: str, seed: int) -> None:
    KINDS[kind](seed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_many_edited(kind: str) -> None:
    for seed in range(MANY[kind]):
        KINDS[kind](seed)


def test_the_slow_suite_is_large_enough() -> None:
    assert sum(MANY.values()) >= 100_000
    assert MANY.keys() == KINDS.keys()
