"""Lies for the demo: proofs altered so that every label agrees, and only the cryptography can tell.

A clumsy lie changes a commitment and forgets the values behind it. Here claim, public section and instances are all
changed together; what stays is the proof itself, which belongs to another statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vml.backends.ezkl.commitments import context_limbs, word_of
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.statement import Statement, visibility_of
from vml.claim import Claim
from vml.proof import Proof


def other_input(proof: Proof, values: Sequence[int]) -> Proof:
    """The same proof, claimed for another input.

    Args:
        proof: public input and model, one claim.
        values: codes of every input element, in order.
    """
    payload, statement = _read(proof)
    places = statement.input_words(_places(payload))
    return _relabelled(proof, _with(payload, places, [word_of(value) for value in values]))


def other_output(proof: Proof, values: Sequence[int]) -> Proof:
    """The same proof, claimed to show another output; `values` are codes of every output element, in order."""
    payload, statement = _read(proof)
    places = statement.output_words(_places(payload))
    return _relabelled(proof, _with(payload, places, [word_of(value) for value in values]))


def other_context(proof: Proof, context: bytes) -> Proof:
    """The same proof, claimed for another use; `context` is 32 bytes."""
    payload, statement = _read(proof)
    limbs = [word_of(limb) for limb in context_limbs(context)]
    for places in (
        statement.input_context(_places(payload)),
        statement.output_context(_places(payload)),
    ):
        if places:
            payload = _with(payload, places, limbs)
    return _relabelled(proof, payload, context)


def other_model(proof: Proof, pinned: Proof) -> Proof:
    """A proof of another model, claimed to be about the model of `pinned`, whose key it borrows."""
    payload, honest = Payload.from_bytes(proof.payload), Payload.from_bytes(pinned.payload)
    borrowed = replace(honest, instances=payload.instances, proof=payload.proof)
    return _relabelled(pinned, borrowed)


def codes(proof: Proof, side: str) -> list[int]:
    """The codes of the only input or output of a proof; `side` is "input" or "output"."""
    public: Any = proof.public
    return list(public[side][0]["values"])


def _read(proof: Proof) -> tuple[Payload, Statement]:
    payload = Payload.from_bytes(proof.payload)
    visibility = visibility_of(proof.scheme)
    if visibility is None:
        raise ValueError(f"not an ezkl proof of this version: {proof.scheme}")
    return payload, Statement.read(payload.wrapper, payload.settings, visibility)


def _places(payload: Payload) -> list[bytes]:
    """The instances' own positions, as words: a statement then says where it reads what."""
    return [index.to_bytes(32, "big") for index in range(len(payload.instances))]


def _with(payload: Payload, places: Sequence[bytes], words: Sequence[bytes]) -> Payload:
    instances = list(payload.instances)
    for place, word in zip(places, words, strict=True):
        instances[int.from_bytes(place, "big")] = word
    return replace(payload, instances=tuple(instances))


def _relabelled(proof: Proof, payload: Payload, context: bytes | None = None) -> Proof:
    """The envelope in which every commitment and every public value follows from the altered instances."""
    visibility = visibility_of(proof.scheme)
    if visibility is None:
        raise ValueError(f"not an ezkl proof of this version: {proof.scheme}")
    statement, words = Statement.read(payload.wrapper, payload.settings, visibility), payload.instances
    old = proof.claims[0]
    claim = Claim(
        model=old.model,
        input=statement.commit_input(statement.input_words(words)),
        output=statement.commit_output(statement.output_words(words)),
        context=old.context if context is None else context,
    )
    return Proof(proof.scheme, (claim,), statement.public(words), payload.to_bytes())
