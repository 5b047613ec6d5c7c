"""Payload, commitments and settings: one encoding, strict bounds, vectors that must not move."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.ezkl.conftest import Case
from vml.backends.ezkl import payload as payloads
from vml.backends.ezkl.bn254 import R
from vml.backends.ezkl.commitments import (
    context_limbs,
    element_of,
    hidden_field,
    model_identity,
    public_field,
    value_of,
    word_of,
)
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.statement import (
    LANE_BITS,
    Statement,
    encode_settings,
    salt_lanes,
    scheme_of,
    visibility_of,
)
from vml.backends.types import Visibility
from vml.errors import MalformedProof
from vml.keccak import keccak256

BLOB = st.binary(max_size=60)
PAYLOADS = st.builds(
    Payload,
    BLOB,
    BLOB,
    BLOB,
    st.binary(min_size=128, max_size=128),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    BLOB,
)


@given(PAYLOADS)
def test_a_payload_round_trips(value: Payload) -> None:
    assert Payload.from_bytes(value.to_bytes()) == value


@given(PAYLOADS, st.data())
def test_no_payload_has_two_encodings(value: Payload, data: st.DataObject) -> None:
    encoded = bytearray(value.to_bytes())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = Payload.from_bytes(bytes(encoded))
    except MalformedProof:
        return
    assert decoded != value
    assert decoded.to_bytes() == bytes(encoded)


@given(st.binary(max_size=400))
def test_noise_is_malformed_or_a_payload(data: bytes) -> None:
    with contextlib.suppress(MalformedProof):
        assert Payload.from_bytes(data).to_bytes() == data


def test_lengths_are_bounded_before_anything_is_read() -> None:
    huge = (1 << 31).to_bytes(4, "big")
    value = Payload(b"w", b"s", b"v", bytes(128), (), b"p").to_bytes()
    for at in (0, 5, 10, 15 + 128, 15 + 128 + 4):
        with pytest.raises(MalformedProof, match="bound"):
            Payload.from_bytes(value[:at] + huge + value[at + 4 :])
    with pytest.raises(MalformedProof, match="left over"):
        Payload.from_bytes(value + b"\0")
    assert payloads.MAX_KEY < 64 << 20


@given(st.integers(-(2**127) + 1, 2**127 - 1))
def test_words_and_values_are_inverse(value: int) -> None:
    assert value_of(word_of(value)) == value


@pytest.mark.parametrize("word", [b"", bytes(31), bytes(33), R.to_bytes(32, "big"), b"\xff" * 32])
def test_words_are_canonical(word: bytes) -> None:
    with pytest.raises(MalformedProof):
        element_of(word)


def test_values_are_bounded() -> None:
    with pytest.raises(MalformedProof):
        value_of((R // 2).to_bytes(32, "big"))
    with pytest.raises(ValueError, match="fit"):
        word_of(1 << 127)


@given(st.binary(min_size=32, max_size=32))
def test_limbs_spell_the_context(context: bytes) -> None:
    limbs = context_limbs(context)
    assert len(limbs) == 16
    assert b"".join(limb.to_bytes(2, "big") for limb in limbs) == context


def test_the_preimages_are_those_documented() -> None:
    one, two = word_of(1), word_of(-2)
    shape = (1).to_bytes(4, "big") + (2).to_bytes(4, "big") + (1).to_bytes(8, "big") + (2).to_bytes(8, "big")
    assert public_field([(1, 2)], [one, two]) == keccak256(b"\x08" + shape + one + two)
    assert hidden_field([one]) == keccak256(b"\x09" + one)
    digests = [bytes([i]) * 32 for i in range(4)]
    identity = model_identity("23.0.5", digests[0], digests[1], digests[2], "v", digests[3], [one])
    preimage = b"\x07" + b"\0\0\0\x06" + b"23.0.5" + b"".join(digests[:3]) + b"\0\0\0\x01v" + digests[3]
    assert identity == keccak256(preimage + (32).to_bytes(4, "big") + one)
    with pytest.raises(ValueError, match="32 bytes"):
        model_identity("23.0.5", b"", digests[1], digests[2], "v", digests[3])


def test_fields_of_other_shapes_differ() -> None:
    words = [word_of(i) for i in range(4)]
    fields = {
        public_field(shapes, words) for shapes in ([(4,)], [(1, 4)], [(2, 2)], [(2,), (2,)], [(1,), (3,)], [(3,), (1,)])
    }
    assert len(fields) == 6


def test_salt_lanes_are_small_and_differ() -> None:
    first, second = salt_lanes(bytes(32), 0), salt_lanes(bytes(32), 1)
    assert len(first) == 16
    assert all(0 <= lane < 1 << LANE_BITS for lane in first)
    assert first != second
    assert first != salt_lanes(b"\1" * 32, 0)
    with pytest.raises(ValueError, match="32 bytes"):
        salt_lanes(b"", 0)


def test_schemes_state_the_visibility() -> None:
    seen = {}
    for source in ("public", "hashed", "private"):
        for model in ("public", "private"):
            visibility = Visibility(source, model)
            assert visibility_of(scheme_of(visibility)) == visibility
            seen[scheme_of(visibility)] = visibility
    assert len(seen) == 6
    assert visibility_of("ezkl/23.0.5") is None


# Settings and wrapper that do not fit

CHANGES = {
    "version": lambda s: s.update(version="23.0.4"),
    "timestamp": lambda s: s.update(timestamp=1),
    "visible input": lambda s: s["run_args"].update(input_visibility="Private"),
    "visible parameters": lambda s: s["run_args"].update(param_visibility="Private"),
    "visible output": lambda s: s["run_args"].update(output_visibility="Private"),
    "rows": lambda s: s["run_args"].update(logrows=40),
    "boolean rows": lambda s: s["run_args"].update(logrows=True),
    "shape": lambda s: s["model_instance_shapes"][0].append(1),
    "fewer shapes": lambda s: s["model_instance_shapes"].pop(),
    "digests": lambda s: s["module_sizes"].update(poseidon=[1, [1]]),
    "no shapes": lambda s: s.pop("model_instance_shapes"),
    "context scale": lambda s: s["model_output_scales"].__setitem__(-1, 1),
    "huge scale": lambda s: s["model_output_scales"].__setitem__(0, 1000),
    "fewer scales": lambda s: s["model_input_scales"].pop(0),
    "list": lambda s: s.update(run_args=[]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_settings_that_do_not_fit_are_malformed(public: Case, change: str) -> None:
    settings = json.loads(public.payload.settings)
    CHANGES[change](settings)
    with pytest.raises(MalformedProof):
        Statement.read(public.payload.wrapper, encode_settings(settings), Visibility())


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b'{"a": 1}', b"\xff", b'{"run_args":{}}', b"[" * 99999])
def test_settings_that_are_none_are_malformed(public: Case, data: bytes) -> None:
    for wrapper, settings in ((public.payload.wrapper, data), (data, public.payload.settings)):
        with pytest.raises(MalformedProof):
            Statement.read(wrapper, settings, Visibility())


def test_settings_have_one_spelling(public: Case) -> None:
    settings = public.payload.settings
    for other in (
        settings + b" ",
        settings.replace(b":", b": ", 1),
        settings.replace(b"23.0.5", b"\\u0032" + b"3.0.5"),
    ):
        with pytest.raises(MalformedProof, match="spelling"):
            Statement.read(public.payload.wrapper, other, Visibility())


WRAPPERS = [
    (b'"shape":[1,4]', b'"shape":[1,5]'),
    (b'"shape":[1,4]', b'"shape":[1,-4]'),
    (b'"shape":[1,4]', b'"shape":[true,4]'),
    (b'"shape":[1,4]', b'"shape":[1,1,1,1,1,1,1,1,4]'),
    (b'"shape":[1,4]', b'"shape":[4294967296,4]'),
    (b'"dtype":"float"', b'"dtype":"string"'),
    (b'"name":"x"', b'"name":1'),
    (b'"salt_lanes":0', b'"salt_lanes":16'),
    (b'"context_limbs":16', b'"context_limbs":15'),
    (b"vml-ezkl-wrapper/1", b"vml-ezkl-wrapper/2"),
    (b'"model":"public"', b'"model":"private"'),
]


@pytest.mark.parametrize(("old", "new"), WRAPPERS)
def test_wrappers_that_do_not_fit_are_malformed(public: Case, old: bytes, new: bytes) -> None:
    wrapper = public.payload.wrapper
    assert old in wrapper
    with pytest.raises(MalformedProof):
        Statement.read(wrapper.replace(old, new), public.payload.settings, Visibility())


def test_the_verifier_calls_them_malformed_too(public: Case) -> None:
    forged = replace(public.payload, settings=b"{}").to_bytes()
    with pytest.raises(MalformedProof):
        public.verify(replace(public.proof, payload=forged))
