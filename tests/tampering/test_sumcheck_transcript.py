"""Attacks on what binds a sumcheck proof together: the transcript, and the claim that it begins with.

Each attack is shown to be one where that can be: without the binding that it is about, the altered statement passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any
from unittest import mock

import pytest

from tests.backends.sumcheck.runs import Stage, small, small_proof, small_rows, stage_of
from vml.backends.exact.statement import Row, public_section, read_public
from vml.backends.sumcheck import verifier
from vml.backends.sumcheck.binding import boundary_tensors
from vml.backends.sumcheck.payload import decode_payload, encode_payload
from vml.backends.sumcheck.setup import model_circuit
from vml.backends.types import PINNED_KEYS, ClaimExpectation, Environment
from vml.claim import ZERO_CONTEXT
from vml.errors import ClaimMismatch, ProofRejected, VerificationError
from vml.field.goldilocks import ONE, Ext, P, mul, sub
from vml.model.graph import Graph, Node
from vml.policy import Policy
from vml.proof import Proof
from vml.transcript import Transcript

# What is observed and drawn, in the order of its first appearance.
OBSERVED = [
    "verifying key",
    "graph",
    "claims",
    "sizes",
    "witness",
    "fractions/values",
    "fractions/round",
    "products/values",
    "products/round",
    "products/factors",
    "opening/shape",
    "opening/fixed",
    "opening/witness",
    "opening/claim",
    "opening/round",
    "opening/level 2",
    "opening/message",
]
DRAWN = [
    "lookups/alpha",
    "lookups/beta",
    "fractions/child",
    "fractions/fold",
    "fractions/bind",
    "constraints/point",
    "products/mix",
    "products/bind",
    "claims/gamma",
    "opening/bind",
    "opening/columns",
    "opening/batch columns",
    "opening/level 2 columns",
    "opening/batch level 2 columns",
]
STATEMENT, LATE = OBSERVED[:4], ("products/factors",)


@contextmanager
def listening(observed: Callable[..., Any], drawn: Callable[..., Any]) -> Iterator[None]:
    """Every observation and every draw goes through ``observed`` and ``drawn``: (original, transcript, label, ..)."""
    kinds = {"observe": observed, "observe_ext": observed, "sample_ext": drawn, "sample_point": drawn}
    kinds["sample_indices"] = drawn

    def through(name: str, function: Callable[..., Any]) -> Any:
        original = getattr(Transcript, name)
        return mock.patch.object(Transcript, name, lambda *args: function(original, *args))

    patches = [through(name, function) for name, function in kinds.items()]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def as_it_is(original: Callable[..., Any], *args: Any) -> Any:
    return original(*args)


def history(action: Callable[[], Any]) -> list[tuple[Any, ...]]:
    """What is said and drawn, word for word."""
    said: list[tuple[Any, ...]] = []

    def listen(original: Callable[..., Any], transcript: Transcript, *args: Any) -> Any:
        answer = original(transcript, *args)
        said.append((*(list(a) if isinstance(a, tuple | list) else a for a in args), answer))
        return answer

    with listening(listen, listen):
        action()
    return said


def test_prover_and_verifier_say_the_same_and_everything() -> None:
    stage = small()
    proofs: list[Proof] = []
    told = history(lambda: proofs.append(stage.honest(*small_rows())))
    heard = history(lambda: stage.verify(proofs[0]))
    assert told == heard
    labels = list(dict.fromkeys(item[0] for item in heard))
    assert [label for label in labels if label in OBSERVED] == OBSERVED
    assert [label for label in labels if label in DRAWN] == DRAWN
    assert len(labels) == len(OBSERVED) + len(DRAWN)
    first = next(k for k, item in enumerate(heard) if item[0] in DRAWN)
    assert [item[0] for item in heard[:first]] == [*STATEMENT, "witness"]


@pytest.mark.parametrize("label", OBSERVED)
def test_a_prover_who_leaves_an_item_out(label: str) -> None:
    """His challenges do not depend on it, so he could choose it after them."""

    def without(original: Callable[..., Any], transcript: Transcript, said: str, *args: Any) -> Any:
        return None if said == label else original(transcript, said, *args)

    stage = small()
    with listening(without, as_it_is):
        proof = stage.honest(*small_rows())
        stage.verify(proof)  # without the binding it passes
    with pytest.raises(VerificationError):
        stage.verify(proof)


@pytest.mark.parametrize("label", OBSERVED)
def test_a_prover_who_says_an_item_under_another_name(label: str) -> None:
    def renamed(original: Callable[..., Any], transcript: Transcript, said: str, *args: Any) -> Any:
        return original(transcript, "x" if said == label else said, *args)

    with listening(renamed, as_it_is):
        proof = small().honest(*small_rows())
    with pytest.raises(VerificationError):
        small().verify(proof)


@pytest.mark.parametrize("label", DRAWN)
def test_a_prover_who_draws_another_challenge(label: str) -> None:
    def renamed(original: Callable[..., Any], transcript: Transcript, asked: str, *args: Any) -> Any:
        return original(transcript, "x" if asked == label else asked, *args)

    with listening(as_it_is, renamed):
        proof = small().honest(*small_rows())
    with pytest.raises(VerificationError):
        small().verify(proof)


@pytest.mark.parametrize(
    ("one", "other"),
    [("lookups/alpha", "lookups/beta"), ("fractions/fold", "fractions/child"), ("products/mix", "claims/gamma")],
)
def test_a_prover_who_exchanges_challenges(one: str, other: str) -> None:
    swap = {one: other, other: one}

    def exchanged(original: Callable[..., Any], transcript: Transcript, asked: str, *args: Any) -> Any:
        return original(transcript, swap.get(asked, asked), *args)

    with listening(as_it_is, exchanged):
        proof = small().honest(*small_rows())
    with pytest.raises(VerificationError):
        small().verify(proof)


@pytest.mark.parametrize("label", ["lookups/alpha", "constraints/point", "claims/gamma", "opening/columns"])
def test_a_prover_who_draws_until_he_likes_it(label: str) -> None:
    drawn: list[str] = []

    def twice(original: Callable[..., Any], transcript: Transcript, asked: str, *args: Any) -> Any:
        if asked == label and not drawn:
            drawn.append(asked)
            original(transcript, asked, *args)
        return original(transcript, asked, *args)

    with listening(as_it_is, twice):
        proof = small().honest(*small_rows())
    with pytest.raises(VerificationError):
        small().verify(proof)


# An honest run, replayed for another statement. Everything but the transcript agrees with the altered one.


def rows_of(stage: Stage, proof: Proof) -> tuple[Row, ...]:
    return read_public(proof.public, proof.claims, stage.graph.inputs, stage.graph.outputs)


def restated(stage: Stage, proof: Proof, rows: Any, context: bytes = ZERO_CONTEXT) -> Proof:
    """The same payload, with public section and claims about other rows."""
    graph = stage.graph
    public = public_section(graph.inputs, graph.outputs, rows)
    return replace(proof, claims=stage.claims(rows, context), public=public)


def shifted(codes: tuple[int, ...], by: int = 1) -> tuple[int, ...]:
    k = next(k for k, code in enumerate(codes) if code)
    return (*codes[:k], codes[k] + (by if codes[k] < 0 else -by), *codes[k + 1 :])  # towards zero: it stays in range


def test_replayed_in_another_context() -> None:
    stage, proof = small(), small_proof()
    context = bytes(31) + b"\1"
    other = restated(stage, proof, rows_of(stage, proof), context)
    with pytest.raises(VerificationError):
        stage.verify(other, context=context)
    with mock.patch.object(verifier, "begin", return_value=stage.transcript(rows_of(stage, proof))):
        stage.verify(other, context=context)  # nothing but the transcript binds the context


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize("tensor", [0, 1])
def test_replayed_for_other_numbers(side: str, tensor: int) -> None:
    stage, proof = small(), small_proof()
    (row,) = rows_of(stage, proof)
    tensors = list(getattr(row, side))
    tensors[tensor] = shifted(tensors[tensor])
    with pytest.raises(VerificationError):
        stage.verify(restated(stage, proof, [replace(row, **{side: tuple(tensors)})]))


def test_replayed_for_the_rows_of_a_batch_in_another_order() -> None:
    stage, proof = small(), small_proof(2)
    with pytest.raises(VerificationError):
        stage.verify(restated(stage, proof, rows_of(stage, proof)[::-1]))


@pytest.mark.parametrize("count", [1, 3])
def test_replayed_for_another_batch(count: int) -> None:
    stage, proof = small(), small_proof(2)
    rows = [*rows_of(stage, proof), *rows_of(stage, proof)][:count]
    with pytest.raises(VerificationError):
        stage.verify(restated(stage, proof, rows))


def reweighed(graph: Graph) -> Graph:
    """The same graph with a weight altered: the same circuit, another model."""
    k = next(k for k, node in enumerate(graph.nodes) if k in graph.constants and node.header.shape == (2, 3))
    values = graph.constants[k].copy()
    values[0, 0] = -values[0, 0]
    from vml.merkle import tensor_root

    nodes = list(graph.nodes)
    nodes[k] = Node("constant", nodes[k].header, (), {"root": tensor_root(values)})
    return replace(graph, nodes=tuple(nodes), constants={**graph.constants, k: values})


@cache
def other_weights() -> Stage:
    stage = stage_of(reweighed(small().graph))
    stage.graph.validate()
    assert stage.circuit().shape == small().circuit().shape
    return stage


def test_replayed_for_another_model_of_the_same_form() -> None:
    """Key, graph and claims of the other model, which the verifier accepts; the body of this one."""
    stage, other, proof = small(), other_weights(), small_proof()
    other.verify(other.honest(*small_rows()))
    body = decode_payload(proof.payload)[2]
    forged = other.envelope(rows_of(stage, proof), body)
    with pytest.raises(VerificationError):
        other.verify(forged)


@pytest.mark.parametrize("kept", ["key", "graph"])
def test_one_model_with_the_key_or_the_graph_of_another(kept: str) -> None:
    stage, other, proof = small(), other_weights(), small_proof()
    key, graph, body = decode_payload(proof.payload)
    parts = (key, other.graph_bytes, body) if kept == "key" else (other.key.encode(), graph, body)
    forged = replace(proof, payload=encode_payload(*parts))
    pins = Environment(pins={PINNED_KEYS: frozenset({stage.key.digest, other.key.digest})})
    expected = ClaimExpectation(model=frozenset({stage.model.commitment, other.model.commitment}))
    for claims in (proof.claims, other.claims(rows_of(stage, proof))):
        with pytest.raises(ClaimMismatch, match="model"):
            verifier.verify(replace(forged, claims=claims), expected, Policy.default(), pins)


def test_a_key_with_the_cap_of_other_weights() -> None:
    """The model's name on another cap: only the pin tells, and a verifier who pins it believes in those weights."""
    stage, other = small(), other_weights()
    key = replace(other.key, model=stage.model.commitment)
    proof = small_proof()
    payload = encode_payload(key.encode(), *decode_payload(proof.payload)[1:])
    with pytest.raises(ProofRejected, match="verifying key"):
        stage.verify(replace(proof, payload=payload))
    pins = Environment(pins={PINNED_KEYS: frozenset({key.digest})})
    with pytest.raises(VerificationError):
        verifier.verify(replace(proof, payload=payload), stage.expectation(), Policy.default(), pins)


def residue_shift(weights: list[Ext]) -> list[int]:
    """Base numbers d, not all zero, with sum d_i w_i = 0 in the extension: two equations, three unknowns."""
    (a, b, c) = weights[:3]

    def cross(x: Ext, y: Ext) -> int:
        return (x[0] * y[1] - x[1] * y[0]) % P

    shift = [cross(b, c), cross(c, a), cross(a, b)]
    assert any(shift)
    return shift + [0] * (len(weights) - 3)


def test_outputs_chosen_after_the_point_at_which_they_are_checked() -> None:
    """Whoever learns r first finds other outputs that agree with the true ones at r: only the transcript forbids it."""
    stage, proof = small(), small_proof()
    circuit, body, rows = stage.circuit(), stage.body(proof), rows_of(stage, proof)
    heard = history(lambda: stage.verify(proof))
    (point,) = [item[-1] for item in heard if item[0] == "constraints/point"]
    tensors = boundary_tensors(circuit, rows)
    k = 3  # six numbers, (2, 3)
    assert len(tensors[k]) == 6
    r0, (r1, r2) = point[0], point[1:3]

    def weight(i: int, j: int) -> Ext:
        row = r0 if i else sub(ONE, r0)
        return mul(mul(row, r1 if j >> 1 else sub(ONE, r1)), r2 if j & 1 else sub(ONE, r2))

    shift = residue_shift([weight(i, j) for i in range(2) for j in range(3)])
    shift_and_true = [v + d for v, d in zip(tensors[k], shift, strict=True)]
    assert shift_and_true != tensors[k]
    altered = [*tensors[:k], shift_and_true, *tensors[k + 1 :]]

    def check(numbers: Any, transcript: Transcript) -> None:
        verifier.verify_columns(circuit, stage.key.cap, body, numbers, transcript)

    check(tensors, stage.transcript(rows))
    check(altered, stage.transcript(rows))  # as if the outputs had not been said before r
    with (
        mock.patch.object(Stage, "claims", return_value=(replace(proof.claims[0], output=bytes(32)),)),
        pytest.raises(VerificationError),
    ):
        check(altered, stage.transcript(rows))


def test_the_honest_point_for_altered_outputs() -> None:
    """The same attack without luck: numbers that do not agree at r are refused by the claim at r itself."""
    stage, proof = small(), small_proof()
    rows = rows_of(stage, proof)
    tensors = boundary_tensors(stage.circuit(), rows)
    altered = [*tensors[:3], [tensors[3][0] + 1, *tensors[3][1:]]]
    with pytest.raises(VerificationError):
        verifier.verify_columns(stage.circuit(), stage.key.cap, stage.body(proof), altered, stage.transcript(rows))


# Tables, more or fewer than the circuit has.


def test_a_circuit_without_a_table() -> None:
    """The prover leaves all lookups of one table out, and the table: his circuit is not the verifier's."""
    stage = small()
    circuit = stage.circuit()
    lookups = tuple(k for k in circuit.arrangement.lookups if k.table == 0)
    assert 0 < len(lookups) < len(circuit.arrangement.lookups)
    poorer = replace(circuit, arrangement=replace(circuit.arrangement, lookups=lookups))
    columns = stage.columns(stage.values(small_rows()))
    with mock.patch.object(Stage, "circuit", return_value=poorer):
        proof = stage.prove(columns, exact=False)
    with pytest.raises(VerificationError):
        stage.verify(proof)
    with pytest.raises(VerificationError):  # nor where he says the true sizes
        stage.verify(_with_arrangement(stage, columns, poorer.arrangement))


def test_a_circuit_with_a_table_twice() -> None:
    stage = small()
    circuit = stage.circuit()
    lookups = (*circuit.arrangement.lookups, replace(circuit.arrangement.lookups[-1], start=_free(circuit)))
    columns = stage.columns(stage.values(small_rows()))
    with pytest.raises(VerificationError):
        stage.verify(_with_arrangement(stage, columns, replace(circuit.arrangement, lookups=lookups)))


def _free(circuit: Any) -> int:
    last = circuit.arrangement.lookups[-1]
    ends = max(k.start + (1 << k.log_size) for k in circuit.arrangement.lookups)
    return -(-ends >> last.log_size) * -(1 << last.log_size) if ends % (1 << last.log_size) else ends


def _with_arrangement(stage: Stage, columns: Any, arrangement: Any) -> Proof:
    """Proved with other lookups, under the transcript of the true circuit."""
    circuit = stage.circuit()
    other = model_circuit(stage.model, 1)
    object.__setattr__(other, "arrangement", arrangement)
    for name in ("shape", "parameters", "sizes", "product_vars", "index_bits"):
        other.__dict__[name] = getattr(circuit, name)
    with mock.patch.object(Stage, "circuit", return_value=other):
        return stage.prove(columns, exact=False)
