"""Lies for the demo, as in `forging_ezkl`: claim and public section are altered so that they agree, the proof stays.

With the sumcheck backend the labels are the envelope's claim, the public codes, and the key and graph in the payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vml.backends.exact.statement import Row, commit, public_section, read_public
from vml.backends.sumcheck.payload import decode_graph, decode_payload, encode_payload
from vml.claim import Claim
from vml.model.graph import TensorSpec
from vml.proof import Proof


def other_input(proof: Proof, values: Sequence[int]) -> Proof:
    """The same proof, claimed for another input.

    Args:
        proof: of a model with one input, one claim.
        values: codes of every input element, in order.
    """
    row, _, _ = _read(proof)
    return _relabelled(proof, Row((tuple(values),), row.outputs))


def other_output(proof: Proof, values: Sequence[int]) -> Proof:
    """The same proof, claimed to show another output; `values` are codes of every output element, in order."""
    row, _, _ = _read(proof)
    return _relabelled(proof, Row(row.inputs, (tuple(values),)))


def other_context(proof: Proof, context: bytes) -> Proof:
    """The same proof, claimed for another use; `context` is 32 bytes."""
    public = {name: value for name, value in proof.public.items() if name != "context_preimage"}
    return replace(proof, claims=(replace(proof.claims[0], context=context),), public=public)


def other_model(proof: Proof, pinned: Proof) -> Proof:
    """A proof of another model, claimed to be about the model of `pinned`, whose key and graph it borrows."""
    _, _, body = decode_payload(proof.payload)
    key, graph, _ = decode_payload(pinned.payload)
    claim = replace(proof.claims[0], model=pinned.claims[0].model)
    return replace(proof, claims=(claim,), payload=encode_payload(key, graph, body))


def codes(proof: Proof, side: str) -> list[int]:
    """The codes of the only input or output of a proof of one run; `side` is "input" or "output"."""
    row, _, _ = _read(proof)
    return list((row.inputs if side == "input" else row.outputs)[0])


def _read(proof: Proof) -> tuple[Row, tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    _, graph, _ = decode_payload(proof.payload)
    _, inputs, outputs = decode_graph(graph)
    (row,) = read_public(proof.public, proof.claims, inputs, outputs)
    return row, inputs, outputs


def _relabelled(proof: Proof, row: Row) -> Proof:
    """The envelope in which commitments and public values follow from the altered codes."""
    _, inputs, outputs = _read(proof)
    old = proof.claims[0]
    claim = Claim(old.model, commit(inputs, row.inputs), commit(outputs, row.outputs), old.context)
    public = {**proof.public, **public_section(inputs, outputs, [row])}
    return Proof(proof.scheme, (claim,), public, proof.payload)
