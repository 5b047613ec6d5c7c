"""Laws of canonical JSON and of the envelope: one encoding a value, and hostile bytes raise one error only."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vml import canonical
from vml.claim import Claim
from vml.errors import MalformedProof
from vml.proof import Proof

LIMIT = canonical.MAX_INTEGER
MANY = 100_000

scalars = st.none() | st.booleans() | st.integers(-LIMIT, LIMIT) | st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=20
)
words = st.binary(min_size=32, max_size=32)
proofs = st.builds(
    Proof,
    scheme=st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9][a-z0-9._+=:-]{0,8}){1,4}", fullmatch=True),
    claims=st.lists(st.builds(Claim, words, words, words, words), min_size=1, max_size=3).map(tuple),
    public=st.dictionaries(names, values, max_size=4),
    payload=st.binary(max_size=200),
)


@given(values)
def test_canonical_encoding_is_rfc_8785_and_decodes(value: Any) -> None:
    data = canonical.encode(value)
    assert data == rfc8785.dumps(value)
    assert canonical.decode(data, max_bytes=len(data)) == value
    with pytest.raises(canonical.NotCanonical):
        canonical.decode(data, max_bytes=len(data) - 1)


@given(values, st.sampled_from([{"indent": 1}, {"separators": (", ", ": ")}, {"ensure_ascii": True}]))
def test_every_other_spelling_is_refused(value: Any, style: dict[str, Any]) -> None:
    other = json.dumps(value, **{"separators": (",", ":"), "ensure_ascii": False, **style}).encode()
    if other != canonical.encode(value):
        with pytest.raises(canonical.NotCanonical):
            canonical.decode(other, max_bytes=1 << 20)


@given(proofs)
def test_envelopes_round_trip(proof: Proof) -> None:
    data = proof.to_bytes()
    assert Proof.from_bytes(data) == proof
    assert Proof.from_bytes(data).to_bytes() == data


def only_malformed(data: bytes) -> None:
    """Decoding raises `MalformedProof`, or gives a proof with exactly these bytes."""
    try:
        proof = Proof.from_bytes(data)
    except MalformedProof:
        return
    assert proof.to_bytes() == data


@settings(max_examples=1000)
@given(st.binary(max_size=400))
@example(b"\xef\xbb\xbf{}")
@example(b'{"format":"vml-proof/1"}')
@example(b'{"a":' * 3000)
@example(b"[" * 200_000)
@example(b"-" * 100_000)
@example(b"1" * 100_000)
@example(b'"\\ud800"')
def test_noise_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedProof):
        Proof.from_bytes(data)


@settings(max_examples=1000)
@given(st.dictionaries(st.sampled_from(["format", "scheme", "claims", "public", "payload", "extra"]), values))
def test_any_object_is_malformed_or_itself(value: dict[str, Any]) -> None:
    only_malformed(canonical.encode({"format": "vml-proof/1", **value}))


BASE = Proof(
    "ezkl/23.0.5/kzg-bn254",
    (Claim(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, bytes(32)),),
    {"output": [{"name": "logits", "values": [1, -2, 3]}], "hidden": [], "é": "\n"},
    bytes(range(48)),
).to_bytes()
PIECES = (
    b'{"', b'"}', b"[", b"]", b",", b":", b"null", b"true", b"-0", b"1e5", b"0.5", b"NaN", b"9007199254740993",
    b"\\u0000", b"\\ud800", b"\xff", b"\xc3\xa9", b'"format":"vml-proof/1",', b"0x", b"==", b"\n", b" ", b"\0",
)  # fmt: skip


def mutated(source: random.Random) -> bytes:
    """An envelope with one to four edits: bytes changed, cut, doubled, moved, or pieces of syntax put in."""
    data = bytearray(BASE)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(data) + 1)
        end = min(len(data), at + source.randint(0, 20))
        match source.randrange(6):
            case 0 if at < len(data):
                data[at] = source.randrange(256)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * source.randint(1, 3)
            case 3:
                data[at:at] = source.choice(PIECES)
            case 4:
                data[at:end] = source.choice(PIECES)
            case _:
                data[at:at] = bytes(source.randrange(256) for _ in range(source.randint(1, 8)))
    return bytes(data)


@pytest.mark.parametrize("count", [1000, pytest.param(MANY, marks=pytest.mark.slow)])
def test_edited_envelopes(count: int) -> None:
    source = random.Random(count)
    for _ in range(count):
        only_malformed(mutated(source))


@pytest.mark.slow
@settings(max_examples=2000)
@given(proofs, st.data())
def test_edited_proofs_of_every_shape(proof: Proof, data: st.DataObject) -> None:
    encoded = proof.to_bytes()
    at = data.draw(st.integers(0, len(encoded) - 1))
    cut = data.draw(st.integers(0, 6))
    only_malformed(encoded[:at] + data.draw(st.binary(max_size=6)) + encoded[at + cut :])
