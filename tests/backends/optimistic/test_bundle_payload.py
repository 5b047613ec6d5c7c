"""The bytes of a bundle: one encoding, nothing missing and nothing left over; names that the game gives it, too."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from tests.backends.optimistic.bundles import ALICE, CHAIN, CONTEXT, GAME, TERMS, address_of, bundle, decoded, model
from vml.backends.optimistic import moves
from vml.backends.optimistic.payload import Bundle
from vml.errors import MalformedProof
from vml.model.graph import encode_specs


def refused(data: bytes, match: str | None = None) -> None:
    with pytest.raises(MalformedProof, match=match):
        Bundle.decode(data)


def test_the_bytes_written_out() -> None:
    fields_ = decoded(bundle())
    inputs, outputs = encode_specs(model().inputs), encode_specs(model().outputs)
    assert bundle().payload == b"".join(
        [
            bundle().claims[0].digest(),
            CHAIN.to_bytes(32, "big"),
            GAME,
            address_of(ALICE),
            TERMS,
            fields_.trace,
            (7).to_bytes(32, "big"),
            model().graph.root,
            len(inputs).to_bytes(4, "big"),
            inputs,
            len(outputs).to_bytes(4, "big"),
            outputs,
            b"\x41",
            fields_.signature,
        ]
    )
    assert any(fields_.trace)
    assert decoded(bundle("unsigned")) == replace(fields_, signature=b"")
    assert decoded(bundle("nowhere")) == Bundle(
        fields_.claim, 0, bytes(20), bytes(20), bytes(32), bytes(32), 0, fields_.graph, inputs, outputs
    )


@pytest.mark.parametrize("kind", ["signed", "unsigned", "nowhere"])
def test_every_cut_and_every_addition_is_refused(kind: str) -> None:
    data = bundle(kind).payload
    assert Bundle.decode(data).encode() == data
    for end in range(len(data)):
        refused(data[:end])
    refused(data + b"\0")
    refused(b"\0" + data)


def test_no_byte_can_change_without_the_bundle_changing() -> None:
    data = bundle().payload
    for at in range(len(data)):
        other = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            read = Bundle.decode(other)
        except MalformedProof:
            continue
        assert read != decoded(bundle())
        assert read.encode() == other


def test_lengths_that_lie() -> None:
    data = bundle("unsigned").payload
    at = data.index(encode_specs(model().inputs)) - 4
    for length in (0, 1, 0xFFFFFFFF, 1 << 31):
        refused(data[:at] + length.to_bytes(4, "big") + data[at + 4 :])
    refused(data[:-1] + b"\1", "does not end with its signature")
    refused(data[:-1] + b"\1\0", "65 bytes")


@pytest.mark.parametrize("field", ["claim", "terms", "trace", "graph", "game", "asserter"])
def test_fields_have_their_sizes(field: str) -> None:
    whole = decoded(bundle())
    for value in (getattr(whole, field) + b"\1", getattr(whole, field)[1:], b""):
        with pytest.raises(ValueError, match="bytes each"):
            replace(whole, **{field: value})


@pytest.mark.parametrize("change", [{"chain_id": -1}, {"chain_id": 1 << 256}, {"nonce": -1}, {"nonce": 1 << 256}])
def test_numbers_have_their_range(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"below 2\*\*256"):
        replace(decoded(bundle()), **change)
    largest = dict.fromkeys(change, (1 << 256) - 1)
    assert Bundle.decode(replace(decoded(bundle()), **largest).encode()) == replace(decoded(bundle()), **largest)


@pytest.mark.parametrize("size", [1, 64, 66])
def test_a_signature_of_another_size(size: int) -> None:
    with pytest.raises(ValueError, match="65 bytes"):
        replace(decoded(bundle()), signature=bytes(size))


@pytest.mark.parametrize("zero", ["chain_id", "game", "asserter", "terms"])
def test_asserted_somewhere_or_nowhere(zero: str) -> None:
    whole = decoded(bundle("unsigned"))
    nothing: Any = 0 if zero == "chain_id" else bytes(len(getattr(whole, zero)))
    with pytest.raises(ValueError, match="all given, or none"):
        replace(whole, **{zero: nothing})
    with pytest.raises(ValueError, match="all given, or none"):
        replace(decoded(bundle("nowhere")), **{zero: getattr(whole, zero)})
    data = bytearray(bundle("nowhere").payload)
    data[32 + 31] = 1  # the chain id
    refused(bytes(data), "all given, or none")


@pytest.mark.parametrize("change", [{"nonce": 1}, {"signature": b"\1" * 65}])
def test_nowhere_has_neither_nonce_nor_signature(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        replace(decoded(bundle("nowhere")), **change)
    nowhere = replace(decoded(bundle("nowhere")), trace=b"\1" * 32)
    assert not nowhere.asserted
    assert decoded(bundle()).asserted


def test_the_id_is_the_game_s() -> None:
    whole, claim = decoded(bundle()), bundle().claims[0]
    assert claim.context == CONTEXT
    assert whole.id == moves.Assert(claim, TERMS, 7, whole.trace).id(CHAIN, GAME, address_of(ALICE))
    untraced = replace(whole, trace=bytes(32))
    assert untraced.id == moves.Assert(claim, TERMS, 7).id(CHAIN, GAME, address_of(ALICE))


def test_the_id_and_the_model_hold_every_field() -> None:
    whole, changes = decoded(bundle()), {"chain_id": 1, "nonce": 8}
    for field in fields(Bundle):
        old = getattr(whole, field.name)
        other = replace(whole, **{field.name: changes.get(field.name) or old[:-1] + bytes([old[-1] ^ 1])})
        in_model = field.name in ("graph", "inputs", "outputs")
        assert (other.model != whole.model) == in_model
        assert (other.id != whole.id) == (not in_model and field.name != "signature")
    assert whole.model == model().commitment
