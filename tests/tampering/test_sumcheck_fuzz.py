"""Hostile bytes raise a `VerificationError` and nothing else, wherever in a proof they are.

Three kinds of edits: of the bytes of the envelope, of the bytes of the payload, and of values after decoding, which are
encoded again and so reach the verifier. An edited proof that is accepted must be the honest one.
"""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backends.sumcheck.runs import small, small_proof
from tests.tampering.test_sumcheck_manifest import put
from vml.backends.sumcheck.payload import (
    Body,
    decode_body,
    decode_graph,
    decode_payload,
    encode_body,
    encode_payload,
    graph_commitment,
)
from vml.errors import MalformedProof, VerificationError
from vml.field.goldilocks import P
from vml.proof import Proof

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**64 - 1)
# Cases of each kind in the slow suite: 104 000 in all, about six minutes on one core.
MANY = {"envelope": 15_000, "payload": 25_000, "graph": 40_000, "values": 4_000, "noise": 20_000}
INTERESTING = (0, 1, 2, 127, 128, 255)
WORDS = (0, 1, P - 1, P, P + 1, (1 << 64) - 1, 1 << 63)


def judge(proof: Proof) -> bool:
    """Whether it is accepted; anything but a refusal of the family is a failure."""
    try:
        small().verify(proof)
    except VerificationError:
        return False
    return True


def judge_bytes(data: bytes) -> bool:
    try:
        proof = Proof.from_bytes(data)
    except MalformedProof:
        return False
    return judge(proof)


def edited(data: bytes, rng: random.Random, other: bytes, most: int | None = None) -> bytes:
    """One to three edits: bits, bytes, words, lengths, pieces of the same or of another proof."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(min(len(out), most or len(out)) or 1) if out else 0
        size = min(rng.choice((1, 1, 2, 4, 8, 32, 33, 100, 1000)), max(1, len(out) - at))
        kind = rng.randrange(9)
        if kind == 0:
            out[at : at + 1] = bytes([out[at] ^ 1 << rng.randrange(8)]) if out else b"\0"
        elif kind == 1:
            out[at : at + 1] = bytes([rng.choice(INTERESTING)])
        elif kind == 2:
            out[at : at + 8] = rng.choice(WORDS).to_bytes(8, rng.choice(("little", "big")))
        elif kind == 3:
            del out[at : at + size]
        elif kind == 4:
            out[at:at] = rng.randbytes(size)
        elif kind == 5:
            out[at : at + size] = rng.randbytes(size)
        elif kind == 6:
            from_here = rng.randrange(len(out) or 1)
            out[at : at + size] = out[from_here : from_here + size]
        elif kind == 7:
            from_there = rng.randrange(len(other))
            out[at : at + size] = other[from_there : from_there + size]
        else:
            del out[at:]
    return bytes(out)


def envelope_case(seed: int) -> None:
    rng, honest = random.Random(seed), small_proof().to_bytes()
    # The payload is most of an envelope: half of the edits are kept out of it.
    most = honest.index(b'"payload"') + 40 if rng.random() < 0.5 else None
    data = edited(honest, rng, small_proof(2).to_bytes(), most)
    assert not judge_bytes(data) or data == honest


def payload_case(seed: int) -> None:
    rng, honest = random.Random(seed), small_proof()
    key, graph, _ = decode_payload(honest.payload)
    most = rng.choice((None, 4 + len(key) + 4 + len(graph), 4 + len(key) + 4 + len(graph) + 5000))
    payload = edited(honest.payload, rng, small_proof(2).payload, most)
    proof = replace(honest, payload=payload)
    assert not judge(proof) or payload == honest.payload


def graph_case(seed: int) -> None:
    """The decoder of graphs alone, which the verifier calls before it knows whose graph it is."""
    rng = random.Random(seed)
    key, graph, body = decode_payload(small_proof().payload)
    data = edited(graph, rng, graph[::-1])
    try:
        graph_commitment(data)
        decode_graph(data)
    except MalformedProof:
        return
    proof = replace(small_proof(), payload=encode_payload(key, data, body))
    assert not judge(proof) or data == graph


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the numbers and the bytes of a body are."""
    if isinstance(value, int | bytes):
        return [path]
    names = list(range(len(value))) if isinstance(value, tuple) else list(value.__dataclass_fields__)
    items = [(name, value[name] if isinstance(name, int) else getattr(value, name)) for name in names]
    return [found for name, item in items for found in places(item, (*path, name))]


def get(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step] if isinstance(step, int) else getattr(value, step)
    return value


_PLACES: dict[str, list[tuple[Any, ...]]] = {}


def values_case(seed: int) -> None:
    """Values of the decoded body, encoded again: canonical, of the right sizes, and wrong."""
    rng, honest = random.Random(seed), small_proof()
    body: Body = small().body(honest)
    if not _PLACES:  # by part, so that the many columns do not crowd the rest out
        for path in places(body):
            _PLACES.setdefault(".".join(str(step) for step in path[:2]), []).append(path)
    altered = body
    for _ in range(rng.choice((1, 1, 2))):
        path = rng.choice(_PLACES[rng.choice(sorted(_PLACES))])
        old = get(altered, path)
        if isinstance(old, bytes):
            new: Any = bytearray(old)
            new[rng.randrange(len(new))] ^= 1 << rng.randrange(8)
            altered = put(altered, path, bytes(new))
        else:
            altered = put(altered, path, rng.choice(((old + 1) % P, (old - 1) % P, P - old if old else 1, 0, P - 1)))
    data = encode_body(altered)
    assert decode_body(data, small().circuit()) == altered
    assert not judge(small().with_body(honest, data)) or altered == body


def noise_case(seed: int) -> None:
    rng, honest = random.Random(seed), small_proof()
    data = rng.randbytes(rng.choice((0, 1, 4, 40, 400, len(honest.payload))))
    assert not judge(replace(honest, payload=data))
    assert not judge_bytes(data)
    key, graph, body = decode_payload(honest.payload)
    part = rng.randrange(3)
    parts = [data if k == part else old for k, old in enumerate((key, graph, body))]
    assert not judge(replace(honest, payload=encode_payload(*parts)))


CASES = {
    "envelope": envelope_case,
    "payload": payload_case,
    "graph": graph_case,
    "values": values_case,
    "noise": noise_case,
}


@pytest.mark.parametrize("kind", CASES)
@FEW
@given(SEEDS)
def test_hostile_bytes(kind: str, seed: int) -> None:
    CASES[kind](seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_hostile_bytes_at_length(kind: str) -> None:
    assert sum(MANY.values()) >= 100_000
    for seed in range(MANY[kind]):
        try:
            CASES[kind](seed)
        except BaseException as error:
            error.add_note(f"{kind} case, seed {seed}")
            raise


@FEW
@given(st.binary(max_size=200))
def test_noise_in_the_places_of_text(data: bytes) -> None:
    """Codes in the public section: any text at all."""
    honest = small_proof()
    text = base64.b64encode(data).decode()
    for entry in ("input", "output"):
        public = {**honest.public, entry: [{**honest.public[entry][0], "codes": [text]}, honest.public[entry][1]]}
        proof = replace(honest, public=public)
        assert not judge(proof) or public == honest.public


PUBLIC = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@FEW
@given(PUBLIC, st.sampled_from(["hidden", "input", "output", "context_preimage"]))
def test_any_json_in_the_public_section(value: Any, name: str) -> None:
    honest = small_proof()
    public = {**honest.public, name: value}
    assert not judge(replace(honest, public=public)) or public == honest.public
